"""What it costs that no payload leaves the process; no engine takes part in it."""

from ._engine import OnEngine, skip


class Redaction(OnEngine):
    params = ()
    param_names = ()

    def setup(self) -> None:
        super().setup("python")

    def time_error(self) -> None:
        self.took(self.operations.errors_redacted(3_000))

    def time_log_record(self) -> None:
        self.took(self.operations.records_logged(2_000))


def need_redactor() -> None:
    """Skip the benchmark where the commit is older than the redaction engine."""
    from meridian import redaction

    if not hasattr(redaction, "redactor"):
        raise skip("this commit has no redactor")


class Texts(OnEngine):
    """What the redaction engine takes for a text; one that it has seen is remembered."""

    params = (("seen", "unseen", "personal", "long"),)
    param_names = ("text",)

    def setup(self, text: str) -> None:
        super().setup("python")
        need_redactor()

    def time_text(self, text: str) -> None:
        self.took(self.operations.texts_redacted(100 if text == "long" else 1_000, text))


class Data(OnEngine):
    """And for a mapping of ten values."""

    params = ()
    param_names = ()

    def setup(self) -> None:
        super().setup("python")
        need_redactor()

    def time_mapping(self) -> None:
        self.took(self.operations.data_redacted(500))
