"""Labels of finished responses, from 0 to 1; 1 is good: correct, safe.

``verifier``  what every source of labels looks like
``judge``     a language model behind an OpenAI-compatible endpoint (``judge_prompts``)
``maths``     mathematical equality with the reference (``equality`` in killable processes)
``text``      exact match, a pattern, a column that is there already
``store``     labels beside a feature cache, resumed after a kill
``datasets``  prompts and labelled responses of known data sets, from local files
"""
