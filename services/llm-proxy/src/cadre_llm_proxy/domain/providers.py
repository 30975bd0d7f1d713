"""Which providers there are, which model of theirs is meant, and with which address and key it is reached."""

import re
from dataclasses import dataclass, field, replace
from typing import Protocol

from pydantic import SecretStr

from cadre_kit.errors import CadreError
from cadre_llm_proxy.domain.calls import Abilities, Options, Target
from cadre_llm_proxy.domain.facts import (
    ApiBaseRefused,
    KeyMissing,
    KeyVariableRefused,
    ModelUnknown,
    ProviderUnknown,
)
from cadre_llm_proxy.domain.prices import FREE, Price

__all__ = [
    "EMBEDDED",
    "OLLAMA",
    "OPENAI",
    "OPENAI_COMPATIBLE",
    "PROVIDERS",
    "WORD_VECTORS",
    "Environment",
    "ListedModel",
    "ModelFacts",
    "Provider",
    "Providers",
    "PublishedModels",
    "host_of",
]

EMBEDDED = "embedded"
OPENAI = "openai"
WORD_VECTORS = "wordllama"
OLLAMA = "ollama"
OPENAI_COMPATIBLE = "openai_compatible"
_ALIASES = {"gemini": "google"}
_EMBEDDED_ABILITIES = Abilities(tools=False, images=False)
_ONLY_EMBEDS = Abilities(tools=False, schema=False, images=False, embeddings=True)
_KEY_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*_(API_)?(KEY|TOKEN)")


@dataclass(frozen=True, kw_only=True)
class Provider:
    """A provider as we know it. `key_variables` are tried in turn; one without any needs no key."""

    name: str
    key_variables: tuple[str, ...] = ()
    default_model: str = ""
    embedding_model: str = ""
    models: tuple[str, ...] = ()
    # What it is called in the variables for its address and default model.
    variable: str = ""
    local: bool = False
    # Where nothing is published, and no max_tokens is given.
    max_output_tokens: int = 0

    @property
    def base_variables(self) -> tuple[str, ...]:
        """Variables for its address, ours first."""
        variable = self.variable or self.name.upper()
        return f"CADRE_{variable}_API_BASE", f"{variable}_API_BASE"

    @property
    def model_variable(self) -> str:
        """Variable for its default model."""
        return f"CADRE_{self.variable or self.name.upper()}_MODEL"


# In the order in which a default is looked for. The first of `models` is its default.
PROVIDERS = (
    Provider(
        name=OPENAI,
        key_variables=("OPENAI_API_KEY",),
        default_model="gpt-4.1-mini",
        embedding_model="text-embedding-3-small",
        models=("gpt-4.1-mini", "gpt-4.1", "gpt-5.4-mini", "gpt-5.5"),
    ),
    Provider(
        name="anthropic",
        key_variables=("ANTHROPIC_API_KEY",),
        default_model="claude-haiku-4-5",
        models=("claude-haiku-4-5", "claude-sonnet-4-6", "claude-opus-4-8"),
    ),
    Provider(
        name="google",
        variable="GEMINI",
        key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        default_model="gemini-2.5-flash",
        embedding_model="gemini-embedding-001",
        models=("gemini-2.5-flash", "gemini-2.5-pro", "gemini-3.5-flash"),
    ),
    Provider(
        name=OLLAMA,
        default_model="llama3.2",
        embedding_model="nomic-embed-text",
        models=("llama3.2",),
        local=True,
    ),
    Provider(
        name=EMBEDDED,
        default_model="smollm2-135m-instruct",
        embedding_model=WORD_VECTORS,
        models=("smollm2-135m-instruct",),
        local=True,
        max_output_tokens=512,
    ),
)
_BY_NAME = {provider.name: provider for provider in PROVIDERS}
# Where each answers unless a variable moves it; of the others only their adapter knows.
_HOSTS = {
    OPENAI: "api.openai.com",
    OLLAMA: "127.0.0.1:11434",
    "anthropic": "api.anthropic.com",
    "google": "generativelanguage.googleapis.com",
    "cohere": "api.cohere.com",
    "deepseek": "api.deepseek.com",
    "fireworks_ai": "api.fireworks.ai",
    "groq": "api.groq.com",
    "mistral": "api.mistral.ai",
    "openrouter": "openrouter.ai",
    "perplexity": "api.perplexity.ai",
    "together_ai": "api.together.xyz",
    "xai": "api.x.ai",
}
_OWNERS = {variable: p.name for p in PROVIDERS for variable in p.key_variables}


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What is published of a model: `price` None, the counts 0 when unknown.

    A model that nobody wrote of is trusted to do all: most servers of OpenAI's format do, and others say so.
    """

    price: Price | None = None
    context_tokens: int = 0
    max_output_tokens: int = 0
    abilities: Abilities = field(default_factory=Abilities)


class PublishedModels(Protocol):
    """What is known of the world's models without asking their providers."""

    def facts(self, provider: str, model: str) -> ModelFacts:
        """What is published of a model."""
        ...

    def knows_provider(self, provider: str) -> bool:
        """Whether requests can be put in that provider's words."""
        ...


class Environment(Protocol):
    """What the operator set."""

    def text(self, name: str) -> str:
        """A variable's value; empty when it is not set."""
        ...

    def secret(self, name: str) -> SecretStr | None:
        """A secret, from the variable `name` or from the file that `name`_FILE names; None when neither is set."""
        ...


@dataclass(frozen=True, kw_only=True)
class ListedModel:
    """A model that can be named."""

    provider: str
    name: str
    unavailable_reason: str
    default: bool
    facts: ModelFacts


def host_of(provider: str) -> str:
    """Where a provider answers by itself; empty when unknown, and for models within."""
    return _HOSTS.get(provider, "")


class Providers:
    """Finds the model that is meant. `default_model` is `provider/model`, or empty for the first with a key; the
    embedded model takes in `embedded_context_tokens`."""

    def __init__(
        self,
        *,
        environment: Environment,
        published: PublishedModels,
        default_model: str = "",
        embedded_context_tokens: int = 0,
    ) -> None:
        self._environment = environment
        self._published = published
        self._default_model = default_model
        self._embedded_context_tokens = embedded_context_tokens

    def target(self, options: Options) -> Target:
        """The model that `options` mean. Raises what is wrong with them, and KeyMissing, before anything is sent."""
        provider, model = self._named(options)
        if provider == OPENAI_COMPATIBLE:
            return self._compatible(model, options)
        if options.api_base:
            raise ApiBaseRefused(
                f"provider {provider!r} has an address of its own; api_base is for {OPENAI_COMPATIBLE!r}",
                resolution=f"Leave api_base out, or set provider: {OPENAI_COMPATIBLE}.",
                metadata={"provider": provider},
            )
        known = _BY_NAME.get(provider)
        if known is None:
            return self._foreign(provider, model, options)
        facts = self._facts(provider, model)
        return Target(
            provider=provider,
            model=model,
            api_base=self._first_text(known.base_variables),
            api_key=self._key(known, options),
            price=facts.price,
            abilities=facts.abilities,
            context_tokens=facts.context_tokens,
            max_output_tokens=facts.max_output_tokens,
        )

    def estimated(self, options: Options) -> tuple[Target, str]:
        """The model that `options` mean, for counting only, and why it cannot be asked: a key that is missing keeps
        nobody from knowing prices. Raises what else is wrong with them."""
        try:
            return self.target(options), ""
        except KeyMissing as missing:
            keyed = Providers(
                environment=_AnyKey(self._environment),
                published=self._published,
                default_model=self._default_model,
                embedded_context_tokens=self._embedded_context_tokens,
            )
            return keyed.target(options), f"{missing.message}. {missing.resolution}"

    def refusal(self, options: Options) -> str:
        """Why the model that `options` mean cannot be asked; empty when it can."""
        try:
            self.target(options)
        except CadreError as error:
            return error.message
        return ""

    def embedder(self, options: Options) -> Target:
        """The model for embeddings that `options` mean: the embedded one where none is named. Raises as `target`."""
        provider = _ALIASES.get(options.provider, options.provider)
        if not provider and not options.model:
            provider = EMBEDDED
        model = options.model or _BY_NAME.get(provider, Provider(name=provider)).embedding_model
        if not model:
            raise ModelUnknown(
                f"provider {provider!r} has no default model for embeddings here",
                resolution="Name a model.",
                metadata={"provider": provider},
            )
        return self.target(replace(options, provider=provider, model=model))

    def default(self) -> tuple[str, str]:
        """Provider and model where none is named."""
        if self._default_model:
            provider, _, model = self._default_model.partition("/")
            provider = _ALIASES.get(provider, provider)
            return provider, model or self._default_of(provider)
        for known in PROVIDERS:
            if any(self._environment.secret(name) for name in known.key_variables):
                return known.name, self._default_of(known.name)
        return EMBEDDED, self._default_of(EMBEDDED)

    def listed(self) -> tuple[ListedModel, ...]:
        """The models worth naming, by provider and name; the platform's default is always among them."""
        default = self.default()
        named = {
            (p.name, model)
            for p in PROVIDERS
            for model in (*p.models, self._default_of(p.name), p.embedding_model)
            if model
        }
        return tuple(
            ListedModel(
                provider=provider,
                name=model,
                unavailable_reason=self._unavailable(provider),
                default=(provider, model) == default,
                facts=self._facts(provider, model),
            )
            for provider, model in sorted({*named, default})
        )

    def _facts(self, provider: str, model: str) -> ModelFacts:
        facts = self._published.facts(provider, model)
        known = _BY_NAME.get(provider)
        if provider == EMBEDDED and model != WORD_VECTORS:
            context = self._embedded_context_tokens
            facts = replace(facts, abilities=_EMBEDDED_ABILITIES, context_tokens=context)
        if known is not None and model == known.embedding_model:
            facts = replace(facts, abilities=_ONLY_EMBEDS)
        if known is not None and known.local:
            written = known.max_output_tokens or facts.max_output_tokens
            return replace(facts, price=FREE, max_output_tokens=written)
        return facts

    def _unavailable(self, provider: str) -> str:
        known = _BY_NAME.get(provider)
        if known is None or provider == EMBEDDED:
            return ""
        if not known.key_variables:
            variable = known.base_variables[1]
            return (
                "" if self._first_text(known.base_variables) else f"Set {variable} to its address."
            )
        found = any(self._environment.secret(name) for name in known.key_variables)
        return "" if found else f"Set {known.key_variables[0]} to your key."

    def _named(self, options: Options) -> tuple[str, str]:
        provider = _ALIASES.get(options.provider, options.provider)
        if not provider and not options.model:
            return self.default()
        if not provider:
            provider = self.default()[0]
        if provider not in _BY_NAME and provider != OPENAI_COMPATIBLE:
            self._check_known(provider)
        return provider, options.model or self._default_of(provider)

    def _check_known(self, provider: str) -> None:
        if not self._published.knows_provider(provider):
            names = ", ".join([*_BY_NAME, OPENAI_COMPATIBLE])
            raise ProviderUnknown(
                f"there is no provider {provider!r}",
                resolution=f"Use one of {names}, or another name that litellm knows.",
                metadata={"provider": provider},
            )

    def _default_of(self, provider: str) -> str:
        known = _BY_NAME.get(provider, Provider(name=provider))
        model = self._environment.text(known.model_variable) or known.default_model
        if not model:
            raise ModelUnknown(
                f"provider {provider!r} has no default model here",
                resolution=f"Name a model, or set {known.model_variable}.",
                metadata={"provider": provider},
            )
        return model

    def _compatible(self, model: str, options: Options) -> Target:
        base = options.api_base
        if not base:
            raise ApiBaseRefused(
                f"provider {OPENAI_COMPATIBLE!r} needs an api_base",
                resolution="Set api_base to the server's address, such as http://127.0.0.1:8000/v1.",
            )
        if not re.match(r"https?://[^/\s]", base):
            raise ApiBaseRefused(
                "api_base is not an http or https address",
                resolution="Write it as http://HOST:PORT/v1 or https://HOST/v1.",
            )
        key = None
        if options.api_key_env:
            key = self._named_key(OPENAI_COMPATIBLE, options.api_key_env)
        facts = self._published.facts(OPENAI_COMPATIBLE, model)
        return Target(
            provider=OPENAI_COMPATIBLE,
            model=model,
            api_base=base,
            api_key=key,
            price=facts.price,
            abilities=facts.abilities,
            context_tokens=facts.context_tokens,
            max_output_tokens=facts.max_output_tokens,
        )

    def _foreign(self, provider: str, model: str, options: Options) -> Target:
        own = Provider(name=provider, key_variables=(f"{provider.upper()}_API_KEY",))
        # No key of that name is no error yet: some take other credentials, which their adapter finds by itself.
        key = None
        if options.api_key_env:
            key = self._named_key(provider, options.api_key_env)
        else:
            key = self._environment.secret(own.key_variables[0])
        facts = self._published.facts(provider, model)
        return Target(
            provider=provider,
            model=model,
            api_base=self._first_text(own.base_variables),
            api_key=key,
            price=facts.price,
            abilities=facts.abilities,
            context_tokens=facts.context_tokens,
            max_output_tokens=facts.max_output_tokens,
        )

    def _key(self, provider: Provider, options: Options) -> SecretStr | None:
        if options.api_key_env:
            return self._named_key(provider.name, options.api_key_env)
        if not provider.key_variables:
            return None
        for name in provider.key_variables:
            if key := self._environment.secret(name):
                return key
        raise _key_missing(provider.name, provider.key_variables[0])

    def _named_key(self, provider: str, variable: str) -> SecretStr:
        # A workflow may choose among keys meant for models; it must not carry any other secret of this process, or
        # one provider's key, to an address that it names itself.
        if not _KEY_VARIABLE.fullmatch(variable) or variable.startswith("CADRE_"):
            raise KeyVariableRefused(
                f"{variable!r} is not the name of a provider's key",
                resolution="Name a variable that ends in _API_KEY, _KEY or _TOKEN, such as MY_SERVER_API_KEY.",
                metadata={"variable": variable},
            )
        owner = _OWNERS.get(variable, provider)
        if owner != provider:
            raise KeyVariableRefused(
                f"{variable} is the key for {owner!r}; it is not sent to provider {provider!r}",
                resolution="Put the key for that server into a variable of its own, and name that one.",
                metadata={"variable": variable, "provider": provider},
            )
        key = self._environment.secret(variable)
        if key is None:
            raise _key_missing(provider, variable)
        return key

    def _first_text(self, variables: tuple[str, ...]) -> str:
        return next((text for name in variables if (text := self._environment.text(name))), "")


def _key_missing(provider: str, variable: str) -> KeyMissing:
    return KeyMissing(
        f"provider {provider!r} needs a key, and {variable} is not set for the llm-proxy",
        resolution=f"Set {variable} (or {variable}_FILE) in its environment or in .env, or use provider: {EMBEDDED}.",
        metadata={"provider": provider, "variable": variable},
    )


class _AnyKey:
    """The environment as if every secret were set. What is asked of it is never sent."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def text(self, name: str) -> str:
        """A variable's value."""
        return self._environment.text(name)

    def secret(self, name: str) -> SecretStr | None:
        """A secret, or something in its place."""
        return self._environment.secret(name) or SecretStr("missing")
