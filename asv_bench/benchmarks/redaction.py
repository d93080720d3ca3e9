"""What it costs that no payload leaves the process; no engine takes part in it."""

from ._engine import OnEngine


class Redaction(OnEngine):
    params = ()
    param_names = ()

    def setup(self) -> None:
        super().setup("python")

    def time_error(self) -> None:
        self.took(self.operations.errors_redacted(3_000))

    def time_log_record(self) -> None:
        self.took(self.operations.records_logged(2_000))
