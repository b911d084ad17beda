#!/usr/bin/env python3
"""Makes tasks/*/: small random models with tokenizers, and what transformers does with them on texts.

Each folder is what from_pretrained() reads (config.json, model.safetensors, tokenizer.json,
tokenizer_config.json; "embed" a sentence-transformers directory) plus expected.json: texts and the
vectors, probabilities, entities, answers, fills or translations of them.

Run with torch, transformers and tokenizers installed: make_tasks.py [OUTPUT-FOLDER]
"""
import json
import pathlib
import sys

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (BertConfig, BertForMaskedLM, BertForQuestionAnswering,
                          BertForSequenceClassification, BertForTokenClassification, BertModel,
                          PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration, pipeline)

from make_encoders import randomize

CORPUS = ["A man is eating food.", "A woman is playing the violin.", "The new movie is awesome!",
          "Someone in a gorilla costume is playing a set of drums.", "Anna lives in New York.",
          "Where does Anna live? She lives in New York City with Bob.", "The cat sits outside.",
          "A man eats a piece of bread.", "The girl is carrying a baby.", "Two dogs run in the park."]
TEXTS = ["A man is eating.", "Is the girl eating bread?", "ANNA Éats", "", "The drums, the violin",
         "the cat " * 30]
FIVE = {i: name for i, name in enumerate(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])}
QUESTION = "Where does Anna live?"
CONTEXT = "The cat sits outside. Anna lives in New York City with Bob. " * 4
MASKED = "A [MASK] is eating [MASK]."


def wordpiece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=90,
                                                                    special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]",
                                   cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
                                   model_input_names=["input_ids", "token_type_ids",
                                                      "attention_mask"],
                                   model_max_length=32)


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(CORPUS, trainers.UnigramTrainer(
        vocab_size=90, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>",
                                   eos_token="</s>", model_max_length=64)


def bert(kind, tokenizer, **options):
    config = dict(vocab_size=len(tokenizer), hidden_size=12, num_hidden_layers=1, num_attention_heads=3,
                  intermediate_size=20, max_position_embeddings=32, hidden_dropout_prob=0.0,
                  attention_probs_dropout_prob=0.0)
    model = kind(BertConfig(**{**config, **options})).eval()
    randomize(model)
    return model


def save(folder, model, tokenizer, expected):
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for name in ("generation_config.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    config = json.loads((folder / "config.json").read_text())
    config.pop("transformers_version", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def embed(root):
    tokenizer = wordpiece()
    model, vectors = bert(BertModel, tokenizer), []
    for text in TEXTS:
        hidden = model(**tokenizer(text, return_tensors="pt", truncation=True,
                                   max_length=16)).last_hidden_state[0]
        vectors.append(torch.nn.functional.normalize(hidden.mean(0), dim=0).tolist())
    save(root / "embed", model, tokenizer, {"texts": TEXTS, "vectors": vectors})
    parts = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    (root / "embed" / "modules.json").write_text(json.dumps(
        [{"idx": i, "name": str(i), "path": path, "type": "sentence_transformers.models." + kind}
         for i, (path, kind) in enumerate(parts)], indent=2) + "\n")
    (root / "embed" / "1_Pooling").mkdir(exist_ok=True)
    (root / "embed" / "1_Pooling" / "config.json").write_text(json.dumps(
        {"word_embedding_dimension": 12, "pooling_mode_cls_token": False,
         "pooling_mode_mean_tokens": True}, indent=2) + "\n")
    (root / "embed" / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": 16, "do_lower_case": False}) + "\n")


def classify(root):
    tokenizer = wordpiece()
    model = bert(BertForSequenceClassification, tokenizer, id2label={0: "bad", 1: "good", 2: "odd"})
    pairs = [text or "park" for text in reversed(TEXTS)]  # an empty one counts as none
    probabilities = [[torch.softmax(model(**tokenizer(a, b, return_tensors="pt", truncation=True)
                                          ).logits[0], 0).tolist() for a, b in zip(TEXTS, seconds)]
                     for seconds in ([None] * len(TEXTS), pairs)]
    save(root / "classify", model, tokenizer,
         {"texts": TEXTS, "pairs": pairs, "single": probabilities[0], "pair": probabilities[1]})


def rerank(root):
    tokenizer = wordpiece()
    model = bert(BertForSequenceClassification, tokenizer, num_labels=1)
    scores = [model(**tokenizer(QUESTION, text, return_tensors="pt", truncation=True)).logits.item()
              for text in CORPUS]
    save(root / "rerank", model, tokenizer, {"query": QUESTION, "texts": CORPUS, "scores": scores})


def tag(root):
    tokenizer = wordpiece()
    model = bert(BertForTokenClassification, tokenizer, id2label=FIVE)
    expected = {"text": "Anna lives in New York, Bob's violin sits outside."}
    for how in ("none", "simple", "first", "average", "max"):
        run = pipeline("token-classification", model=model, tokenizer=tokenizer,
                       aggregation_strategy=how)
        expected[how] = [[e["start"], e["end"], e.get("entity_group", e.get("entity"))[-3:].lstrip("-"),
                          float(e["score"])] for e in run(expected["text"])]
    save(root / "tag", model, tokenizer, expected)


def answer(root):
    """Windows of 32 tokens that share 8; the best of all spans of at most 6 tokens."""
    tokenizer = wordpiece()
    model = bert(BertForQuestionAnswering, tokenizer)
    windows = tokenizer(QUESTION, CONTEXT, truncation="only_second", max_length=32, stride=8,
                        return_overflowing_tokens=True, return_offsets_mapping=True)
    found, none = {}, 1.0
    for i, ids in enumerate(windows["input_ids"]):
        out = model(torch.tensor([ids]), token_type_ids=torch.tensor([windows["token_type_ids"][i]]))
        keep = torch.tensor([j == 0 or s == 1 for j, s in enumerate(windows.sequence_ids(i))])
        begin, end = (torch.softmax(x[0].masked_fill(~keep, -1e9), 0).tolist()
                      for x in (out.start_logits, out.end_logits))
        none = min(none, begin[0] * end[0])
        offsets = windows["offset_mapping"][i]
        for a in range(1, len(ids)):
            for b in range(a, min(a + 6, len(ids))):
                if keep[a] and keep[b]:
                    place = (offsets[a][0], offsets[b][1])
                    found[place] = max(found.get(place, 0.0), begin[a] * end[b])
    best = sorted(([*place, p] for place, p in found.items()), key=lambda row: -row[2])[:5]
    save(root / "answer", model, tokenizer,
         {"question": QUESTION, "context": CONTEXT, "answers": best, "none": none})


def mask(root):
    tokenizer = wordpiece()
    model = bert(BertForMaskedLM, tokenizer)
    ids = tokenizer(MASKED, return_tensors="pt")["input_ids"]
    rows = torch.softmax(model(ids).logits[0], 1)[ids[0] == tokenizer.mask_token_id]
    top = [[[int(i), float(row[i])] for i in row.argsort(descending=True)[:4]] for row in rows]
    save(root / "mask", model, tokenizer, {"text": MASKED, "top": top})


def translate(root):
    tokenizer = unigram()
    model = T5ForConditionalGeneration(T5Config(
        vocab_size=len(tokenizer), d_model=12, d_kv=5, d_ff=20, num_layers=2, num_heads=3,
        relative_attention_num_buckets=8, relative_attention_max_distance=12, dropout_rate=0.0,
        feed_forward_proj="gated-gelu", decoder_start_token_id=0)).eval()
    randomize(model)
    texts, results = TEXTS[:3] + CORPUS[:3], {"greedy": [], "beams": []}
    for text in texts:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        for name, beams in (("greedy", 1), ("beams", 3)):
            out = model.generate(ids, max_new_tokens=12, num_beams=beams, do_sample=False)[0]
            results[name].append(tokenizer.decode(out, skip_special_tokens=True,
                                                  clean_up_tokenization_spaces=False))
    save(root / "translate", model, tokenizer, {"texts": texts, **results})


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent) / "tasks"
    with torch.no_grad():
        for make in (embed, classify, rerank, tag, answer, mask, translate):
            make(folder)
