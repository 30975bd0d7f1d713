"""The memory service's settings; the only reader of its environment."""

from pydantic import Field

from cadre_kit.settings import Port, ServiceSettings


class MemorySettings(ServiceSettings):
    """What the memory service needs to know. Each field is the environment variable `CADRE_<FIELD>`."""

    memory_port: Port = Field(7413, description="Port of the memory service; 0 takes any free one.")
    memory_database_url: str = Field(
        "",
        description="Where memories are kept: sqlite:///PATH, postgresql://..., redis://...; empty: <home>/memory.db.",
    )
    memory_embedding_model: str = Field(
        "",
        pattern="^([^/\\s]+/\\S+)?$",
        description="The model that knows what texts mean, as PROVIDER/MODEL. Empty means the one within the service.",
    )
    memory_embedding_dimensions: int = Field(
        0,
        ge=0,
        le=4_096,
        description="How many numbers a provider's vectors have, where its model lets one choose; 0 leaves it to it.",
    )
    llm_proxy_address: str = Field(
        "127.0.0.1:7411",
        description="host:port of the llm-proxy, which providers' models are asked through.",
    )
    memory_vector_mb: int = Field(
        256,
        ge=1,
        le=65_536,
        description="Indexes of searched namespaces held in memory at most, in MiB; 220,000 items fit into 256.",
    )
    memory_sweep_seconds: float = Field(
        60.0, gt=0, le=86_400, description="How often what expired is really removed, in seconds."
    )
