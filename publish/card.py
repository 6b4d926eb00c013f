"""The model card, written from the manifests: nothing in it is typed by hand but title, summary and licence."""

import json
from pathlib import Path
from typing import Any

from publish.chain import Chain, licences, model_folder
from publish.settings import PublishSettings

TEMPLATE = Path(__file__).parent / "card.md.jinja"
LANGUAGES = ["ja", "en"]
TAGS = ["llama", "japanese", "minamoto"]
KINDS = {"pretrain": "事前学習", "finetune": "追加学習（全パラメータ）", "lora": "追加学習（LoRA）"}


def write_card(chain: Chain, settings: PublishSettings) -> str:
    """README.md of the repository: metadata, how to load it, data with licences, quality, training, provenance."""
    from huggingface_hub import ModelCard, ModelCardData

    artifact = chain[settings.stage]
    name = settings.title or settings.repo_id.partition("/")[2]
    scores = bits_per_byte(chain)
    card = ModelCard.from_template(
        ModelCardData(
            language=LANGUAGES,
            license=settings.licence.lower(),
            library_name="transformers",
            pipeline_tag="text-generation",
            base_model=settings.base_model or None,
            tags=TAGS,
            model_name=name,
            eval_results=_results(scores) or None,
        ),
        template_str=TEMPLATE.read_text("utf-8"),
        title=name,
        summary=settings.summary,
        kind=KINDS[settings.stage],
        repo_id=settings.repo_id,
        chat=settings.stage != "pretrain",
        adapter=settings.stage == "lora",
        config=json.loads((model_folder(artifact) / "config.json").read_text("utf-8")),
        licences=licences(chain),
        tokens=training_tokens(chain),
        scores=scores,
        heldout=artifact.stats.get("heldout_loss", {}),
        data=artifact.stats.get("data", {}),
        training=[(stage, settings_rows(chain[stage].body["made"]["settings"])) for stage in KINDS if stage in chain],
        chain=[(stage, manifest.digest, manifest.body["made"]["commit"]) for stage, manifest in chain.items()],
    )
    return str(card).rstrip() + "\n"


def bits_per_byte(chain: Chain) -> list[tuple[str, float, float | None]]:
    """(source, bits per byte, unigram baseline) of the pretrained model's validation text; all of it (`total`) last."""
    rows = chain["pretrain"].stats.get("valid", {}) if "pretrain" in chain else {}
    names = sorted(rows, key=lambda name: (name == "total", name))
    return [(name, rows[name]["bits_per_byte"], rows[name].get("unigram_bits_per_byte")) for name in names]


def training_tokens(chain: Chain) -> int | None:
    """Tokens that pretraining consumed."""
    return chain["pretrain"].stats.get("tokens") if "pretrain" in chain else None


def settings_rows(settings: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Settings as rows `a.b`, value; what is empty or off is left out."""
    if isinstance(settings, dict):
        rows = [settings_rows(value, f"{prefix}.{key}" if prefix else key) for key, value in settings.items()]
    elif isinstance(settings, list) and any(isinstance(value, dict) for value in settings):
        rows = [settings_rows(value, f"{prefix}[{index}]") for index, value in enumerate(settings)]
    else:
        return [] if settings in ("", None, [], False) else [(prefix, settings)]
    return [row for part in rows for row in part]


def _results(scores: list[tuple[str, float, float | None]]) -> list[Any]:
    """The scores in the metadata's form (model-index)."""
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="text-generation",
            dataset_type="validation",
            dataset_name=source,
            dataset_config=source,  # results are grouped by it, not by the name
            metric_type="bits_per_byte",
            metric_value=round(score, 4),
        )
        for source, score, _ in scores
    ]
