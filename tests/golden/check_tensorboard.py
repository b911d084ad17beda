#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reads the event files of a training run with TensorBoard's own loader, which checks every checksum,
and compares them with metrics.jsonl beside them. Usage: check_tensorboard.py OUTPUT-DIRECTORY.
"""
import json
import pathlib
import sys

try:
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
except ImportError as missing:
    print("SKIPPED:", missing)
    sys.exit(77)


def main(directory):
    files = sorted(directory.glob("events.out.tfevents.*"))
    assert len(files) == 1, files
    events = list(LegacyEventFileLoader(str(files[0])).Load())
    assert events[0].file_version == "brain.Event:2", events[0]
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert len(events) == len(lines) + 1, (len(events), len(lines))
    names = {"loss/train": "loss", "loss/validation": "validation_loss",
             "learning_rate": "learning_rate", "gradient_norm": "gradient_norm",
             "tokens_per_second": "tokens_per_second"}
    for event, line in zip(events[1:], lines):
        assert event.step == line["step"]
        found = {names[v.tag]: v.simple_value for v in event.summary.value}
        expected = {name: line[name] for name in names.values() if name in line}
        assert found.keys() == expected.keys(), (found, expected)
        for name, value in expected.items():
            assert abs(found[name] - value) <= 1e-6 * max(1.0, abs(value)), (name, event.step)
    print(f"{len(lines)} events agree with metrics.jsonl")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
