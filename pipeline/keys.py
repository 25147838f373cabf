"""Cache keys: what a stage's result depends on, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from pipeline.cache import digest
from pipeline.record import version
from pipeline.schema import Config, plain
from pipeline.stage import Stage

PICTURES_VERSION = 4


def settings_of(stage: Stage, config: Config) -> SimpleNamespace:
    """The sections of the config that a stage reads, as attributes."""
    return SimpleNamespace(**{section: getattr(config, section) for section in stage.settings})


def keyed_settings(stage: Stage, config: Config) -> Any:
    """What of a stage's settings enters its key: all of them, or what the stage itself says (`Stage.keyed`)."""
    settings = settings_of(stage, config)
    return plain(stage.keyed(settings) if stage.keyed else vars(settings))


class Keys:
    """The keys of a run's artifacts, as far as they are known. None: random without a seed, never cached."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.artifacts: dict[str, str | None] = {}

    def found(self, fingerprints: Mapping[str, str | None]) -> None:
        """A stage that looks at the world has made these."""
        self.artifacts.update(fingerprints)

    def explain(self, stage: Stage) -> dict[str, Any]:
        """All that enters the stage's key."""
        uses = {name: self.artifacts[name] for name in stage.uses if name in self.artifacts}
        return {
            "stage": stage.name,
            "version": stage.version,
            "packages": {name: version(name) for name in stage.packages},
            "settings": keyed_settings(stage, self.config),
            "needs": {need: self.artifacts[need] for need in stage.needs} | uses,
        }

    def of(self, stage: Stage) -> str | None:
        """The stage's key, and from now on that of what it makes."""
        explained = self.explain(stage)
        settled = None not in explained["needs"].values() and not stage.unseeded(settings_of(stage, self.config))
        key = digest(explained) if settled else None
        self.artifacts.update({made: f"{made}:{key}" if key else None for made in stage.makes})
        return key

    def unsettle(self, stage: Stage) -> None:
        """What the stage made holds for this run only, and so does all that follows from it."""
        self.artifacts.update(dict.fromkeys(stage.makes, None))

    def of_pictures(self, stage: Stage) -> str | None:
        """The key of the stage's pictures."""
        inputs = {name: self.artifacts[name] for name in (*stage.makes, *stage.needs, *stage.draw_needs)}
        inputs |= {name: self.artifacts[name] for name in stage.uses if name in self.artifacts}
        if None in inputs.values():
            return None
        return digest(
            {
                "pictures": stage.name,
                "version": [stage.version, PICTURES_VERSION, version("matplotlib")],
                "settings": plain(vars(settings_of(stage, self.config))),
                "plots": plain(self.config.plots),
                "captions": captions_shown(self.config),
                "seed": self.config.seed,
                "inputs": inputs,
            }
        )


def captions_shown(config: Config) -> bool:
    """Whether pictures may show captions."""
    return "caption" not in plain(config.report.hide)
