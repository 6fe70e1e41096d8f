"""Answer a list of prompts with vLLM, as a user's script would: ``generate.py JOB ANSWERS``.

It runs in a process of its own, so that the demo itself needs no vLLM. This is the one module
outside of the engine that imports vLLM: it stands for the user, and touches nothing of vLLM but
``LLM`` and ``SamplingParams``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from vllm import LLM, SamplingParams

from value_steer.demo.job import Job


def main(job: Path, answers: Path) -> None:
    """Answer the job in one file by token ids in the other."""
    asked = Job.from_json(job.read_text(encoding="utf-8"))
    llm = LLM(
        model=asked.model,
        dtype="float32",
        max_model_len=128,
        enforce_eager=True,  # a model this small is not worth compiling
        **asked.steering,
    )
    outputs = llm.generate(
        [{"prompt_token_ids": prompt} for prompt in asked.prompts],
        [
            SamplingParams(temperature=1.0, max_tokens=asked.max_tokens, seed=seed)
            for seed in asked.seeds
        ],
        use_tqdm=False,
    )
    tokens = [list(output.outputs[0].token_ids) for output in outputs]
    answers.write_text(json.dumps(tokens), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
