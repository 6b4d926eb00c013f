"""The vocabulary that parity, speed and greedy merging are measured with: the default recipe at 16,000 pieces."""

import argparse
from pathlib import Path

from benchmarks.tokenizer.lab import BUDGET, SIZES, sample
from benchmarks.tokenizer.texts import load
from pipeline.files import atomic_file
from tokenizer.settings import TokenizerSettings
from tokenizer.train.recipes import train_recipe

SETTINGS = TokenizerSettings(vocab_size=SIZES[0], max_characters=sum(BUDGET.values()))


def model_of(arguments: argparse.Namespace) -> bytes:
    """The model that `--model` names, or one trained on the data folder."""
    return arguments.model.read_bytes() if arguments.model else trained(arguments.data)


def trained(data: Path) -> bytes:
    """The lab's default at its smaller size, on the lab's text: Japanese, English and code."""
    return train_recipe(sample(load(data)), SETTINGS)


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Arguments of every part that needs the model."""
    made = argparse.ArgumentParser(description=doc)
    made.add_argument("--data", type=Path, required=True, help="the folder of development data")
    made.add_argument("--model", type=Path, help="a tokenizer.model to measure with; trained on the data where it is left out")
    return made


def main() -> None:
    """Train it once for several parts: `--model` says where it goes."""
    arguments = parser(__doc__).parse_args()
    model = trained(arguments.data)
    with atomic_file(arguments.model) as file:
        file.write(model)


if __name__ == "__main__":
    main()
