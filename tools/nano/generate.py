"""Batched greedy decoding with transformers, for the evaluation and the goldens."""

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def load(folder, dtype=torch.float32):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    model.set_attn_implementation("eager")
    return model, tokenizer


def prompt_ids(tokenizer, example):
    """Ids of the rendered prompt; the template writes bos itself, so the post-processor stays out."""
    text = tokenizer.apply_chat_template(
        example["messages"], tokenize=False, add_generation_prompt=True, enable_thinking=example["enable_thinking"]
    )
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@torch.no_grad()
def greedy(model, prompts, limit=400, stop=(5, 1), batch=100):
    """Returns per prompt the new ids (with the stop token) and the smallest gap between the two best logits."""
    results = [None] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        width = max(len(prompts[i]) for i in rows)
        ids = torch.tensor([[0] * (width - len(prompts[i])) + prompts[i] for i in rows])
        mask = torch.tensor([[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in rows])
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=limit,
            do_sample=False,
            eos_token_id=list(stop),
            pad_token_id=0,
            return_dict_in_generate=True,
            output_logits=True,
        )
        gaps = torch.stack([step.float().topk(2).values.diff(dim=-1).neg().squeeze(-1) for step in out.logits], 1)
        for row, i in enumerate(rows):
            new = out.sequences[row, width:].tolist()
            end = next((k + 1 for k, token in enumerate(new) if token in stop), len(new))
            results[i] = (new[:end], gaps[row, :end].tolist())
    return results
