"""What of a request's `params` providers take that say nothing of what they do not know."""

from collections.abc import Mapping

from cadre_llm_proxy.adapters.failures import failure
from cadre_llm_proxy.domain.calls import Ask
from cadre_llm_proxy.domain.facts import OptionUnsupported
from cadre_llm_proxy.domain.providers import EMBEDDED, OLLAMA

__all__ = ["refuse_unknown_params"]

# Ollama and llama.cpp pass over what they do not know, and litellm leaves it out of what it sends to Google.
_TAKEN: Mapping[str, frozenset[str]] = {
    OLLAMA: frozenset("frequency_penalty presence_penalty reasoning_effort".split()),
    EMBEDDED: frozenset(
        "frequency_penalty presence_penalty logit_bias top_k min_p typical_p repeat_penalty repeat_last_n "
        "dry_multiplier dry_base dry_allowed_length dry_penalty_last_n xtc_probability xtc_threshold "
        "mirostat mirostat_tau mirostat_eta".split()
    ),
    "google": frozenset(
        "frequency_penalty presence_penalty top_k reasoning_effort thinking service_tier safety_settings "
        "web_search_options".split()
    ),
}


def refuse_unknown_params(ask: Ask) -> None:
    """Raises OptionUnsupported for one that would be passed over in silence."""
    taken = _TAKEN.get(ask.target.provider)
    if taken is None:
        return
    for name in ask.options.params:
        if name not in taken:
            raise failure(OptionUnsupported, ask.target, details={"param": name})
