#!/usr/bin/env python3
"""Makes encoders/*/: small random models with what PyTorch and transformers compute.

Each folder holds config.json and model.safetensors as transformers saves them, and golden.safetensors:
ids, types and offsets of five packed texts, the targets, the scores of the head (each text run by
itself, so that nothing is padded), the loss, and the gradient of every parameter as "grad.NAME".
T5 folders add the target texts and what generate() gives: greedy, and beam search in several
settings.

Run with torch, transformers and safetensors installed: make_encoders.py [OUTPUT-FOLDER]
"""
import json
import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import (BertConfig, BertForMaskedLM, BertForQuestionAnswering,
                          BertForSequenceClassification, BertForTokenClassification, BertModel,
                          DistilBertConfig, DistilBertForMaskedLM, DistilBertForQuestionAnswering,
                          DistilBertForSequenceClassification, DistilBertForTokenClassification,
                          GPT2Config, GPT2ForSequenceClassification, LlamaConfig,
                          LlamaForSequenceClassification, RobertaConfig, RobertaForMaskedLM,
                          RobertaForQuestionAnswering, RobertaForSequenceClassification,
                          RobertaForTokenClassification, T5Config, T5EncoderModel,
                          T5ForConditionalGeneration, XLMRobertaConfig, XLMRobertaModel)

LENGTHS = [7, 1, 12, 5, 3]
TARGET_LENGTHS = [4, 6, 1, 9, 3]
BERT = dict(vocab_size=61, hidden_size=12, num_hidden_layers=2, num_attention_heads=3,
            intermediate_size=20, max_position_embeddings=24, type_vocab_size=2,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, layer_norm_eps=1e-5)
ROBERTA = dict(BERT, max_position_embeddings=26, type_vocab_size=1)
DISTILBERT = dict(vocab_size=61, dim=12, n_layers=2, n_heads=3, hidden_dim=20,
                  max_position_embeddings=24, dropout=0.0, attention_dropout=0.0, qa_dropout=0.0,
                  seq_classif_dropout=0.0)
T5 = dict(vocab_size=61, d_model=12, d_kv=5, d_ff=20, num_layers=2, num_decoder_layers=3, num_heads=3,
          relative_attention_num_buckets=8, relative_attention_max_distance=10, dropout_rate=0.0,
          decoder_start_token_id=0)
FIVE = {i: name for i, name in enumerate(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])}
THREE = {0: "bad", 1: "good", 2: "odd"}
ENCODERS = {
    "bert-base": (BertModel, BertConfig, dict(BERT, hidden_act="gelu_new")),
    "bert-mlm": (BertForMaskedLM, BertConfig, BERT),
    "bert-untied": (BertForMaskedLM, BertConfig,
                    dict(BERT, tie_word_embeddings=False, num_hidden_layers=1, hidden_act="relu")),
    "bert-sequence": (BertForSequenceClassification, BertConfig, dict(BERT, id2label=THREE)),
    "bert-regression": (BertForSequenceClassification, BertConfig,
                        dict(BERT, num_labels=1, num_hidden_layers=1)),
    "bert-multi": (BertForSequenceClassification, BertConfig,
                   dict(BERT, id2label=THREE, problem_type="multi_label_classification",
                        num_hidden_layers=1)),
    "bert-tokens": (BertForTokenClassification, BertConfig,
                    dict(BERT, id2label=FIVE, num_hidden_layers=1)),
    "bert-spans": (BertForQuestionAnswering, BertConfig, dict(BERT, num_hidden_layers=1)),
    "roberta-mlm": (RobertaForMaskedLM, RobertaConfig, dict(ROBERTA, pad_token_id=1)),
    "roberta-sequence": (RobertaForSequenceClassification, RobertaConfig,
                         dict(ROBERTA, id2label=THREE, num_hidden_layers=1)),
    "roberta-tokens": (RobertaForTokenClassification, RobertaConfig,
                       dict(ROBERTA, id2label=FIVE, num_hidden_layers=1)),
    "roberta-spans": (RobertaForQuestionAnswering, RobertaConfig, dict(ROBERTA, num_hidden_layers=1)),
    "xlm-roberta-base": (XLMRobertaModel, XLMRobertaConfig,
                         dict(ROBERTA, pad_token_id=3, max_position_embeddings=28,
                              num_hidden_layers=1)),
    "distilbert-mlm": (DistilBertForMaskedLM, DistilBertConfig, DISTILBERT),
    "distilbert-sequence": (DistilBertForSequenceClassification, DistilBertConfig,
                            dict(DISTILBERT, id2label=THREE, n_layers=1)),
    "distilbert-tokens": (DistilBertForTokenClassification, DistilBertConfig,
                          dict(DISTILBERT, id2label=FIVE, n_layers=1)),
    "distilbert-spans": (DistilBertForQuestionAnswering, DistilBertConfig,
                         dict(DISTILBERT, n_layers=1)),
    "gpt2-sequence": (GPT2ForSequenceClassification, GPT2Config,
                      dict(vocab_size=61, n_positions=24, n_layer=1, n_head=3, n_embd=12,
                           embd_pdrop=0.0, resid_pdrop=0.0, attn_pdrop=0.0, id2label=THREE,
                           pad_token_id=60, bos_token_id=0, eos_token_id=0, use_cache=False)),
    "llama-sequence": (LlamaForSequenceClassification, LlamaConfig,
                       dict(vocab_size=61, hidden_size=16, intermediate_size=20, num_hidden_layers=1,
                            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=24,
                            id2label=THREE, pad_token_id=60, use_cache=False)),
    "t5-encoder": (T5EncoderModel, T5Config, dict(T5, num_layers=2)),
}
T5S = {
    "t5-v1.0": dict(T5),
    "t5-v1.1": dict(T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False, num_layers=3,
                    num_decoder_layers=2),
}
BEAMS = [dict(num_beams=3), dict(num_beams=4, length_penalty=2.0, early_stopping=True),
         dict(num_beams=4, length_penalty=-1.0, early_stopping="never"),
         dict(num_beams=2, length_penalty=0.0)]


def randomize(model):
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = "norm" in name.lower().split(".")[-2] and name.endswith("weight")
            is_norm = is_norm or (".ln_" in name and name.endswith("weight"))
            parameter.copy_(1 + 0.1 * noise if is_norm else 0.3 * noise)


def offsets_of(lengths):
    return torch.tensor([0] + lengths).cumsum(0)


def random_ids(count, vocabulary, seed, low=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, vocabulary, (count,), generator=generator)


def split(values, offsets):
    return [values[a:b] for a, b in zip(offsets[:-1], offsets[1:])]


def head_of(model):
    name = type(model).__name__
    for end in ("SequenceClassification", "TokenClassification", "QuestionAnswering", "MaskedLM"):
        if name.endswith(end):
            return end
    return ""


def run(model, ids, types, offsets, with_types):
    """Scores of every text, run by itself."""
    rows = []
    for text, kind in zip(split(ids, offsets), split(types, offsets)):
        out = model(text[None], **({"token_type_ids": kind[None]} if with_types else {}))
        if hasattr(out, "start_logits"):
            rows.append(torch.stack([out.start_logits[0], out.end_logits[0]], dim=1))
        elif hasattr(out, "logits"):
            rows.append(out.logits.reshape(-1, out.logits.shape[-1]))
        else:
            rows.append(out.last_hidden_state[0])
    return torch.cat(rows)


def loss_of(model, scores, offsets):
    """targets or values, and the loss as the model's own forward computes it."""
    functional = torch.nn.functional
    head, count, rows = head_of(model), len(LENGTHS), scores.shape[0]
    if head == "SequenceClassification":
        labels = model.config.num_labels
        if labels == 1:
            values = torch.linspace(-1, 1, count)[:, None]
            return {"values": values}, functional.mse_loss(scores, values)
        if model.config.problem_type == "multi_label_classification":
            values = (random_ids(count * labels, 2, 3, 0).reshape(count, labels)).float()
            return {"values": values}, functional.binary_cross_entropy_with_logits(scores, values)
        targets = random_ids(count, labels, 3, 0)
        return {"targets": targets}, functional.cross_entropy(scores, targets)
    if head == "QuestionAnswering":
        pairs = [[length // 3, length - 1] for length in LENGTHS]
        losses = []
        for text, pair in zip(split(scores, offsets), pairs):
            losses += [functional.cross_entropy(text[:, i][None], torch.tensor([pair[i]]))
                       for i in (0, 1)]
        return {"targets": torch.tensor(pairs).reshape(-1)}, torch.stack(losses).mean()
    if head:
        targets = random_ids(rows, scores.shape[1], 5, 0)
        targets[::6] = -100
        return {"targets": targets}, functional.cross_entropy(scores, targets)
    return {}, (scores * torch.linspace(-1, 1, scores.numel()).reshape(scores.shape)).sum()


def gradients(model):
    # Embeddings are not gradient-free at the padding id here: no text holds it.
    return {"grad." + name: parameter.grad.clone() for name, parameter in model.named_parameters()
            if parameter.grad is not None}


def save(folder, model, golden):
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    golden = {k: v.detach().int() if v.dtype == torch.int64 else v.detach() for k, v in golden.items()}
    save_file({k: v.contiguous() for k, v in golden.items()}, folder / "golden.safetensors")
    text = json.loads((folder / "config.json").read_text())
    text.pop("transformers_version", None)
    (folder / "config.json").write_text(json.dumps(text, indent=2) + "\n")


def make_encoder(folder, kind, config, options):
    model = kind(config(**options)).eval()
    randomize(model)
    ids, offsets = random_ids(sum(LENGTHS), 60, 11), offsets_of(LENGTHS)
    with_types = options.get("type_vocab_size", 0) > 1
    types = random_ids(sum(LENGTHS), 2, 13, 0) if with_types else torch.zeros_like(ids)
    scores = run(model, ids, types, offsets, with_types)
    targets, loss = loss_of(model, scores, offsets)
    loss.backward()
    golden = {"ids": ids, "types": types, "offsets": offsets, "scores": scores, "loss": loss,
              **targets, **gradients(model)}
    if getattr(model, "pooler", None) is not None:
        with torch.no_grad():
            golden["pooled"] = torch.cat([
                model(t[None], **({"token_type_ids": k[None]} if with_types else {})).pooler_output
                for t, k in zip(split(ids, offsets), split(types, offsets))])
    save(folder, model, golden)


def generated(model, texts, **options):
    rows = []
    for text in texts:
        out = model.generate(text[None], max_new_tokens=14, do_sample=False, use_cache=False, **options)[0]
        rows.append(torch.cat([out, torch.full((16 - len(out),), -1)]))
    return torch.stack(rows)


def make_t5(folder, options):
    model = T5ForConditionalGeneration(T5Config(**options)).eval()
    randomize(model)
    if options.get("tie_word_embeddings") is False:  # v5 ties in any case: files of v4 do not
        weight = model.lm_head.weight.detach().clone()
        model.lm_head.weight = torch.nn.Parameter(0.3 * weight.flip(0) + 0.1)
    ids, offsets = random_ids(sum(LENGTHS), 60, 11), offsets_of(LENGTHS)
    targets = random_ids(sum(TARGET_LENGTHS), 60, 17)
    target_offsets = offsets_of(TARGET_LENGTHS)
    texts = split(ids, offsets)
    scores = torch.cat([model(text[None], labels=target[None]).logits[0]
                        for text, target in zip(texts, split(targets, target_offsets))])
    marked = targets.clone()
    marked[2::7] = -100  # in the decoder's input it becomes padding
    loss = torch.nn.functional.cross_entropy(
        torch.cat([model(text[None], labels=target[None]).logits[0]
                   for text, target in zip(texts, split(marked, target_offsets))]), marked)
    loss.backward()
    golden = {"ids": ids, "offsets": offsets, "target_ids": targets, "target_offsets": target_offsets,
              "targets": marked, "scores": scores, "loss": loss, **gradients(model)}
    with torch.no_grad():
        golden["encoded"] = torch.cat([model.encoder(text[None]).last_hidden_state[0] for text in texts])
        golden["greedy"] = generated(model, texts)
        for i, beams in enumerate(BEAMS):
            golden[f"beams{i}"] = generated(model, texts, **beams)
    save(folder, model, golden)
    text = json.loads((folder / "config.json").read_text())
    if options.get("tie_word_embeddings") is False:
        text.pop("scale_decoder_outputs", None)
        text["tie_word_embeddings"] = False
    (folder / "config.json").write_text(json.dumps(text, indent=2) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent) / "encoders"
    for name, (kind, config, options) in ENCODERS.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        make_encoder(root / name, kind, config, options)
    for name, options in T5S.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        make_t5(root / name, options)
