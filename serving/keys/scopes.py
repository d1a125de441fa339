"""Which scope of a key a request needs, by its method and path."""

_OPEN = frozenset(
    {
        "/",
        "/docs",
        "/openapi.json",
        "/health",
        "/ready",
        "/ping",
        "/version",
        "/webhooks/mlflow",
        "/slack/actions",
    }
)
_OPERATE = (
    *("/metrics", "/drift", "/decisions", "/report", "/approvals", "/series", "/champions"),
    "/rollout",
)


def scope_of(method: str, path: str) -> str:
    """The scope that a key needs for a request; empty if none is needed. Unlisted paths need
    ``predict``.
    """
    if (
        path in _OPEN
        or path.startswith("/v2/health/")
        or (path.startswith("/v2/") and path.endswith("/ready"))
    ):
        return ""
    if path.endswith("/feedback"):
        return "feedback"
    steers = path.endswith("/rollout") and method not in ("GET", "HEAD")
    if path.endswith("/rollback") or steers or _is_one_of("approvals", path):
        return "decide"  # a reader such as Prometheus must not change the champion
    return "operate" if path.endswith(_OPERATE) or _is_one_of("decisions", path) else "predict"


def _is_one_of(records: str, path: str) -> bool:
    """``/v1/<use case>/<records>/<one>``."""
    parts = path.split("/")
    return len(parts) == 5 and parts[1] == "v1" and parts[3] == records
