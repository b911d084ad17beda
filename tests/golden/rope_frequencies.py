#!/usr/bin/env python3
"""Prints the frequencies that check_rope.c expects, from Hugging Face transformers."""
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

CASES = [  # name, head_dim, theta, max_position_embeddings, sequence length, parameters
    ("linear", 16, 10000.0, 2048, None, {"rope_type": "linear", "factor": 3.0}),
    ("dynamic", 16, 10000.0, 2048, 5000, {"rope_type": "dynamic", "factor": 2.0}),
    ("yarn", 32, 1000000.0, 32768, None,
     {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192}),
    ("yarn, mscale", 32, 10000.0, 163840, None,
     {"rope_type": "yarn", "factor": 40.0, "original_max_position_embeddings": 4096, "beta_fast": 24,
      "beta_slow": 2, "mscale": 1.0, "mscale_all_dim": 0.7, "truncate": False}),
    ("llama3", 32, 500000.0, 131072, None,
     {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 8192}),
    ("longrope short", 8, 10000.0, 131072, 4096,
     {"rope_type": "longrope", "short_factor": [1.0, 1.1, 1.2, 1.5], "long_factor": [1.5, 4.0, 16.0, 60.0],
      "original_max_position_embeddings": 4096, "factor": 32.0}),
    ("longrope long", 8, 10000.0, 131072, 4097,
     {"rope_type": "longrope", "short_factor": [1.0, 1.1, 1.2, 1.5], "long_factor": [1.5, 4.0, 16.0, 60.0],
      "original_max_position_embeddings": 4096, "factor": 32.0}),
    ("proportional", 16, 1000000.0, 131072, None,
     {"rope_type": "proportional", "partial_rotary_factor": 0.5}),
]

for name, head_dim, theta, most, length, parameters in CASES:
    config = transformers.LlamaConfig(
        hidden_size=head_dim * 2, num_attention_heads=2, head_dim=head_dim,
        max_position_embeddings=most, rope_parameters={"rope_theta": theta, **parameters})
    frequencies, scale = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config, "cpu", seq_len=length)
    print(f"/* {name} */ {scale:.9g}, {{{', '.join(f'{x:.9g}f' for x in frequencies.tolist())}}}")
