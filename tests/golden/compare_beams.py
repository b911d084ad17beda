#!/usr/bin/env python3
"""T5 generation here and in transformers: many random models, beam counts, penalties, ways to stop.

Run by hand: LIBLLM=build/lib/libllm.so compare_beams.py [models]
Ids must be equal. Where they are not, the two candidates' scores are within rounding of each other or
the difference is reported as an error.
"""
import pathlib
import sys
import tempfile

import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "examples" / "python"))
import libllm  # noqa: E402

WAYS = {False: 0, True: 1, "never": 2}


def make(seed):
    generator = torch.Generator().manual_seed(seed)
    config = transformers.T5Config(
        vocab_size=40, d_model=16, d_kv=4, d_ff=24, num_layers=2, num_heads=4, dropout_rate=0.0,
        relative_attention_num_buckets=8, relative_attention_max_distance=16, decoder_start_token_id=0,
        feed_forward_proj=("relu", "gated-gelu")[seed % 2])
    model = transformers.T5ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
        model.shared.weight[1] *= 1 + seed % 3  # some models end soon, some late
    return model, generator


def score(model, ids, row, penalty):
    """Sum of log-probabilities / length ** penalty, as beam search ranks texts."""
    row = torch.tensor(row)
    logits = model(ids, decoder_input_ids=torch.cat([torch.tensor([0]), row[:-1]])[None]).logits[0]
    chosen = torch.log_softmax(logits, 1).gather(1, row[:, None]).sum().item()
    return chosen / len(row) ** penalty


def main(count):
    compared = different = wrong = 0
    for seed in range(count):
        model, generator = make(seed)
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            model.save_pretrained(folder)
            task = libllm.Task(libllm.Model.load(folder))
            for beams in (1, 2, 3, 5, 8):
                for penalty in (0.0, 1.0, 2.5, -1.0):
                    for stop in WAYS:
                        ids = torch.randint(2, 40, (1, 1 + seed % 9), generator=generator)
                        options = dict(early_stopping=stop, length_penalty=penalty) if beams > 1 else {}
                        row = model.generate(ids, max_new_tokens=12, num_beams=beams, do_sample=False,
                                             **options)[0][1:].tolist()
                        got = task.generate(ids[0].tolist(), max_tokens=12, num_beams=beams,
                                            length_penalty=penalty, early_stopping=WAYS[stop])
                        compared += 1
                        if got == row:
                            continue
                        different += 1
                        gap = abs(score(model, ids, got, penalty) - score(model, ids, row, penalty))
                        if gap > 1e-5:
                            wrong += 1
                            print(seed, beams, penalty, stop, got, row, gap)
    print(f"{compared} texts, {different} differ, {wrong} of them by more than rounding")
    return 1 if wrong else 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
