"""Replies to the person who pressed a button, and to nobody else: an ephemeral message through the
call's own ``response_url``.
"""

import logging
from urllib.parse import urlsplit

from blocks.settings import Settings
from serving.errors import LakeAway, PrefectAway, Refused, RegistryAway

SLACK = "https://slack.com/api/"
HOOKS = "https://hooks.slack.com"
_TIMEOUT_SECONDS = 5.0
_LONGEST_TEXT = 2000

# In English and in Korean. The codes of refusals are those of serving/history/approvals.py and
# serving/callbacks/slack_actions.py.
WORDS = {
    "approved": (
        "Approved by {by}: version {version} of {use_case}. <{page}|The approve run> continues.",
        "{by} 님이 승인했습니다: {use_case} 버전 {version}. <{page}|승인 실행>이 계속됩니다.",
    ),
    "rejected": (
        "Rejected by {by}: version {version} of {use_case}. <{page}|The approve run> continues.",
        "{by} 님이 거절했습니다: {use_case} 버전 {version}. <{page}|승인 실행>이 계속됩니다.",
    ),
    "rolling_back": (
        "{by} rolls {use_case} back from version {from_version} to version {version}: <{page}|the "
        "rollback's run>.",
        "{by} 님이 {use_case} 버전 {from_version}에서 버전 {version}(으)로 롤백합니다: <{page}|롤백 실행>.",
    ),
    "rolling_back_one": (
        "{by} rolls {use_case} back from version {from_version} to the previous champion: "
        "<{page}|the rollback's run>.",
        "{by} 님이 {use_case} 버전 {from_version}에서 바로 이전 챔피언으로 롤백합니다: <{page}|롤백 실행>.",
    ),
    "rolling_already": (
        "This button has already started a rollback: <{page}|its run>.",
        "이 버튼으로 이미 롤백을 시작했습니다: <{page}|실행>.",
    ),
    "steers": (
        "{by} steers the rollout of {use_case}: <{page}|the flow's run>.",
        "{by} 님이 {use_case} 롤아웃을 조정합니다: <{page}|실행>.",
    ),
    "steers_already": (
        "This button was pressed before: <{page}|its run>.",
        "이미 누른 버튼입니다: <{page}|실행>.",
    ),
    "stepped_on": (
        "Nothing was done: the rollout has moved on since this button was made.",
        "처리하지 않았습니다. 이 버튼이 만들어진 뒤 롤아웃이 다음으로 넘어갔습니다.",
    ),
    "lake_away": (
        "Nothing was done: the ledger cannot be read now. Press again later. {error}",
        "결정 원장을 읽을 수 없어 처리하지 못했습니다. 나중에 다시 누르세요. {error}",
    ),
    "answered": (
        "Nothing was done: somebody has already answered, and the approve run continues.",
        "처리하지 않았습니다. 이미 다른 사람이 응답하여 승인 실행이 계속되고 있습니다.",
    ),
    "over": (
        "Nothing was done: the approve run is over. It was answered, or its time was up.",
        "처리하지 않았습니다. 승인 실행이 끝났습니다. 이미 응답했거나 기한이 지났습니다.",
    ),
    "not_yet": (
        "The approve run is not waiting for an answer yet. Press again in a moment.",
        "승인 실행이 아직 응답을 기다리지 않습니다. 잠시 후 다시 누르세요.",
    ),
    "unknown_run": (
        "Nothing was done: Prefect has no such approve run.",
        "처리하지 않았습니다. Prefect에 이런 승인 실행이 없습니다.",
    ),
    "moved_on": (
        "Nothing was rolled back: the champion has changed since this button was made.",
        "롤백하지 않았습니다. 이 버튼이 만들어진 뒤 챔피언이 바뀌었습니다.",
    ),
    "not_listed": (
        "Nothing was done: you may not do this. LAUREL_SLACK_APPROVERS lists who may.",
        "처리하지 않았습니다. 권한이 없습니다. LAUREL_SLACK_APPROVERS에 등록된 사람만 할 수 있습니다.",
    ),
    "prefect_away": (
        "Prefect is unreachable, so nothing was done. Press again later. {error}",
        "Prefect에 연결할 수 없어 처리하지 못했습니다. 나중에 다시 누르세요. {error}",
    ),
    "registry_away": (
        "Nothing was rolled back: the current champion is unknown. Press again later. {error}",
        "지금 챔피언을 확인할 수 없어 롤백하지 않았습니다. 나중에 다시 누르세요. {error}",
    ),
    "refused": ("Nothing was done. {error}", "처리하지 않았습니다. {error}"),
}
_AWAY: dict[type[Exception], str] = {
    PrefectAway: "prefect_away",
    RegistryAway: "registry_away",
    LakeAway: "lake_away",
}

logger = logging.getLogger(__name__)


class Replies:
    """Sends to Slack alone, whatever address a call names; if ``slack_api_url`` is another server,
    such as a test's, to that one alone.
    """

    def __init__(self, settings: Settings) -> None:
        self._origin = HOOKS if settings.slack_api_url == SLACK else _origin(settings.slack_api_url)
        self._language = ("en", "ko").index(settings.slack_language)

    def say(self, name: str, **values: str) -> str:
        return WORDS[name][self._language].format(
            **{key: _escape(value) for key, value in values.items()}
        )

    def refused(self, error: Exception) -> str:
        """The reply that says why nothing was done."""
        name = (
            error.code
            if isinstance(error, Refused) and error.code in WORDS
            else _AWAY.get(type(error), "refused")
        )
        return self.say(name, error=str(error))

    def send(self, response_url: str, text: str) -> None:
        """Send a reply; blocking. A failure is logged without the address: anyone who knows it may
        write in the channel.
        """
        import httpx

        if not self._origin or _origin(response_url) != self._origin:
            logger.warning(
                "slack reply not sent: the call's response_url is not at %s", self._origin
            )
            return
        message = {
            "response_type": "ephemeral",
            "replace_original": False,
            "text": text[:_LONGEST_TEXT],
        }
        try:
            answer = httpx.post(response_url, json=message, timeout=_TIMEOUT_SECONDS)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            logger.warning("slack reply not sent: %s", type(error).__name__)
            return
        if answer.status_code != 200:
            logger.warning("slack reply not sent: Slack answers %d", answer.status_code)


def _origin(url: str) -> str:
    """Scheme, host and port; empty for an invalid address, or one that names a user."""
    try:
        parts = urlsplit(url)
        return (
            ""
            if "@" in parts.netloc or not parts.hostname
            else f"{parts.scheme}://{parts.netloc}".lower()
        )
    except ValueError:
        return ""


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
