"use strict";
// Looks up what was computed when the page was built; nothing is decided here.
{
  const at = (id) => document.getElementById(id);
  const { releases, devices, sentences } = JSON.parse(at("lookup").textContent);
  const fields = { release: at("release"), device: at("device"), runner: at("runner") };
  const runners = { v1: "v1", v2: "v2", default: "default" };
  const tables = { release: releases, device: devices, runner: runners };

  const show = () => {
    const chosen = Object.values(fields).map((field) => field.value);
    const [symbol, text, command] = chosen.reduce((table, key) => table[key], sentences);
    const answer = at("answer");
    answer.className = `answer ${symbol}`;
    answer.querySelector("use").setAttribute("href", `#${symbol}`);
    at("sentence").textContent = text;
    at("command").textContent = command ?? "";
    at("run").hidden = command === null;
    at("copy").textContent = "Copy";
    history.replaceState(null, "", `#${chosen.join(",")}`);
  };

  const read = (text) => {
    const words = text.toLowerCase().split(/[\s,]+/).filter(Boolean);
    const unknown = words.filter((word) => {
      const name = word.replace(/^v(?=\d+\.)/, "");
      const kind = Object.keys(tables).find((key) => Object.hasOwn(tables[key], name));
      if (kind) fields[kind].value = tables[kind][name];
      return !kind;
    });
    at("typed-help").textContent = unknown.length
      ? `Not known here: ${unknown.join(", ")}. Pick from the lists instead.`
      : "";
    show();
  };

  at("typed").addEventListener("input", (event) => read(event.target.value));
  Object.values(fields).forEach((field) => field.addEventListener("change", show));
  at("ask").addEventListener("submit", (event) => event.preventDefault());
  if (navigator.clipboard) {
    at("copy").hidden = false;
    at("copy").addEventListener("click", async () => {
      await navigator.clipboard.writeText(at("command").textContent);
      at("copy").textContent = "Copied";
    });
  }
  at("ask").hidden = false;
  const wanted = decodeURIComponent(location.hash.slice(1));
  if (wanted.includes(",")) read(wanted);
}
