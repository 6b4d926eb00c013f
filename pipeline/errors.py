"""The errors a user can cause and fix; `pipeline.cli` prints each as one line and exits 2.

PipelineError
├── ConfigError            the run file or the command line says something no stage understands
├── MissingInput           a file, folder or artifact that the stage reads is not there
├── BadInput               an input is there but cannot be used (damaged beyond the allowed share, empty)
├── RecipeDrift            work on disk was made by another recipe than the one asked for
├── CorruptArtifact        a sealed artifact no longer is what its manifest says
├── DiskFull               the disk or quota is full
└── ExternalServiceError   another program or service (Ray, Slack, the Hub, apt) failed

A message says where, what was found versus expected, and what to do. Any other exception is our bug
and keeps its traceback.
"""


class PipelineError(Exception):
    """Base of the family."""


class ConfigError(PipelineError):
    """The run file or the command line says something no stage understands."""


class MissingInput(PipelineError):
    """A file, folder or artifact that the stage reads is not there."""


class BadInput(PipelineError):
    """An input is there but cannot be used."""


class RecipeDrift(PipelineError):
    """Work on disk was made by another recipe than the one asked for."""


class CorruptArtifact(PipelineError):
    """A sealed artifact no longer is what its manifest says."""


class DiskFull(PipelineError):
    """The disk or quota is full."""


class ExternalServiceError(PipelineError):
    """Another program or service failed."""
