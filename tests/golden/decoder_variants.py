"""The decoder models that make_decoders.py keeps as fixtures and compare_transformers.py makes larger.

One row per folder: the configuration class of transformers and what differs from COMMON. Sizes are
not alike, windows are shorter than the longest sequence (23 tokens), scaled contexts too.
"""
import torch
import transformers

LENGTHS = [23, 1, 9, 17, 4]
COMMON = dict(vocab_size=67, hidden_size=24, intermediate_size=36, num_hidden_layers=2,
              num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
              attention_dropout=0.0, bos_token_id=1, eos_token_id=2, pad_token_id=None,
              use_cache=True)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=16)
LLAMA3 = dict(rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0,
              high_freq_factor=4.0, original_max_position_embeddings=16)
LONG = dict(rope_type="longrope", rope_theta=10000.0, short_factor=[1.0, 1.1, 1.3],
            long_factor=[1.5, 2.5, 4.0], original_max_position_embeddings=16)

VARIANTS = {
    "llama": ("Llama", {}),
    "llama-bias": ("Llama", dict(attention_bias=True, mlp_bias=True, head_dim=10,
                                 tie_word_embeddings=True, num_key_value_heads=4,
                                 hidden_act="gelu_new", rms_norm_eps=1e-4)),
    "llama-linear": ("Llama", dict(rope_parameters=dict(rope_type="linear", factor=4.0,
                                                        rope_theta=100.0))),
    "llama-dynamic": ("Llama", dict(max_position_embeddings=8,
                                    rope_parameters=dict(rope_type="dynamic", factor=4.0,
                                                         rope_theta=10000.0))),
    "llama-yarn": ("Llama", dict(rope_parameters=YARN)),
    "llama-llama3": ("Llama", dict(rope_parameters=LLAMA3, num_key_value_heads=1)),
    "mistral": ("Mistral", dict(sliding_window=5, head_dim=8)),
    "mistral-whole": ("Mistral", dict(sliding_window=None)),
    "qwen2": ("Qwen2", dict(use_sliding_window=True, sliding_window=6, max_window_layers=1)),
    "qwen3": ("Qwen3", dict(head_dim=10, tie_word_embeddings=True)),
    "gemma": ("Gemma", dict(head_dim=8, num_key_value_heads=1)),
    "gemma2": ("Gemma2", dict(head_dim=8, sliding_window=7, query_pre_attn_scalar=12,
                              attn_logit_softcapping=3.0, final_logit_softcapping=2.0)),
    "gemma3": ("Gemma3Text", dict(head_dim=8, sliding_window=6, num_hidden_layers=3,
                                  layer_types=["sliding_attention", "full_attention",
                                               "sliding_attention"],
                                  query_pre_attn_scalar=12,
                                  rope_parameters=dict(
                                      full_attention=dict(rope_type="linear", factor=8.0,
                                                          rope_theta=1000.0),
                                      sliding_attention=dict(rope_type="default",
                                                             rope_theta=100.0)))),
    "phi": ("Phi", dict(partial_rotary_factor=0.5, head_dim=None, hidden_size=32)),
    "phi3": ("Phi3", dict(sliding_window=9)),
    "phi3-long": ("Phi3", dict(rope_parameters=LONG, original_max_position_embeddings=16)),
    "gpt-neox": ("GPTNeoX", dict(rotary_pct=0.5, hidden_size=32)),
    "gpt-neox-serial": ("GPTNeoX", dict(use_parallel_residual=False, attention_bias=False,
                                        rotary_pct=1.0, tie_word_embeddings=True)),
    "falcon-7b": ("Falcon", dict(multi_query=True)),
    "falcon-40b": ("Falcon", dict(new_decoder_architecture=True, num_kv_heads=2, bias=True)),
    "falcon-11b": ("Falcon", dict(new_decoder_architecture=True, num_kv_heads=2,
                                  num_ln_in_parallel_attn=1, tie_word_embeddings=False)),
    "falcon-rw": ("Falcon", dict(multi_query=False, alibi=True, bias=True, parallel_attn=False,
                                 num_attention_heads=6)),
    "mixtral": ("Mixtral", dict(num_local_experts=5, num_experts_per_tok=2, intermediate_size=20)),
}


def make_config(name, **changes):
    prefix, options = VARIANTS[name]
    fields = {**COMMON, **options, **changes}
    if prefix in ("Phi", "GPTNeoX", "Falcon"):  # fields that these do not have
        for key in ("head_dim", "num_key_value_heads"):
            fields.pop(key, None)
    return getattr(transformers, prefix + "Config")(**fields)


def attention_of(name):
    """Scores by the book; but Falcon's own loop adds ALiBi twice in transformers 5."""
    return "sdpa" if VARIANTS[name][0] == "Falcon" else "eager"


def make_model(name, deviation=0.2, **changes):
    """Random weights that bf16 holds exactly, those of norms near one."""
    config = make_config(name, **changes)
    config._attn_implementation = attention_of(name)
    prefix = VARIANTS[name][0].replace("Gemma3Text", "Gemma3")
    model = getattr(transformers, prefix + "ForCausalLM")(config).eval()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            norm = parameter.dim() == 1 and key.endswith("weight") and "Gemma" not in prefix
            value = 1 + 0.1 * noise if norm else deviation * noise
            parameter.copy_(value.bfloat16().float())
    return model


def packed(vocabulary, lengths):
    generator = torch.Generator().manual_seed(11)
    total = sum(lengths)
    ids = torch.randint(0, vocabulary, (total,), generator=generator)
    targets = torch.randint(0, vocabulary, (total,), generator=generator)
    targets[::6] = -100
    return ids, targets, torch.tensor([0] + list(lengths)).cumsum(0)


def packed_logits(model, ids, offsets):
    rows = [model(ids[a:b][None], use_cache=False).logits[0]
            for a, b in zip(offsets[:-1], offsets[1:])]
    return torch.cat(rows)
