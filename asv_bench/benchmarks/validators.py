"""Is a graph valid, and does a payload fit: what it costs to ask."""

from ._engine import OnEngine, per_engine, skip

SCHEMAS = ("anything", "isinstance", "union", "list of 10", "dataclass", "pydantic", "msgspec")


class Graph(OnEngine):
    """Per node of a graph of 1,000; no engine takes part in it."""

    params = ()
    param_names = ()

    def setup(self) -> None:
        super().setup("python")

    def time_validate_1000_nodes(self) -> None:
        self.took(self.operations.validated(1_000))


class Schema(OnEngine):
    """Put and get on an edge that checks; the one that takes anything is what to compare with."""

    params = per_engine(SCHEMAS)
    param_names = ("engine", "schema")

    def setup(self, engine: str, schema: str) -> None:
        super().setup(engine)
        try:
            self.operations.SCHEMAS[schema]()
        except ImportError as error:
            raise skip(f"{error.name} isn't installed here") from error

    def time_put_and_get(self, engine: str, schema: str) -> None:
        self.took(self.operations.checked(10_000, schema))
