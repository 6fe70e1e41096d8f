// Evaluates expressions of GitHub Actions with GitHub's own evaluator.
//
// node evaluate.mjs FOLDER: JSON on stdin, JSON on stdout. npm has installed @actions/expressions
// into FOLDER.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const dist = join(process.argv[2], "node_modules", "@actions", "expressions", "dist");
const load = (file) => import(pathToFileURL(join(dist, file)).href);
const { data, Evaluator, Lexer, Parser } = await load("index.js");
const { TokenType } = await load("lexer.js");
const { truthy } = await load("result.js");

const asked = JSON.parse(readFileSync(0, "utf8"));
const contexts = JSON.parse(JSON.stringify(asked.contexts), data.reviver);
const told = {
  always: true,
  cancelled: false,
  success: asked.status === "success",
  failure: asked.status === "failure",
};
const functions = Object.entries(told).map(([name, value]) => ({
  name,
  description: "",
  minArgs: 0,
  maxArgs: 0,
  call: () => new data.BooleanData(value),
}));

function answer(expression) {
  const { tokens } = new Lexer(expression).lex();
  const parsed = new Parser(tokens, Object.keys(asked.contexts), functions).parse();
  if (parsed === undefined) throw new Error("an expression must not be empty");
  const value = new Evaluator(parsed, contexts, new Map(functions.map((f) => [f.name, f]))).evaluate();
  const asksStatus = tokens.some(
    (token, at) =>
      token.type === TokenType.IDENTIFIER &&
      Object.hasOwn(told, token.lexeme.toLowerCase()) &&
      tokens[at + 1].type === TokenType.LEFT_PAREN,
  );
  return {
    value: JSON.parse(JSON.stringify(value, data.replacer)),
    text: value.coerceString(),
    holds: truthy(value),
    asks_status: asksStatus,
  };
}

const answers = asked.expressions.map((expression) => {
  try {
    return answer(expression);
  } catch (error) {
    return { error: error.message };
  }
});
process.stdout.write(JSON.stringify(answers));
