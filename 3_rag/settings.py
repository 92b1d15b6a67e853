"""Every setting, typed; the only reader of the environment.

Reads the environment and `.env` at the project's root. `.env.example` documents each setting, and a test keeps the two equal.
"""

from functools import cache
from pathlib import Path

from dotenv import load_dotenv
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """What can be set from outside. Secrets print as stars."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    hf_token: SecretStr | None = Field(
        None, description="Token for the Hugging Face Hub; needed only for a private model or a push."
    )
    hf_model_repo: str | None = Field(
        None, description="Hub repository of the fine-tuned model that answers, as owner/Llama-name."
    )
    hf_provider: str = Field("auto", description="Hub inference provider for HF_MODEL_REPO.")
    llm_base_url: str | None = Field(
        None, description="Address of an OpenAI-compatible server that answers; wins over HF_MODEL_REPO."
    )
    llm_model: str = Field(
        "default_model", description="Model name sent to LLM_BASE_URL; mlx_lm.server wants default_model."
    )
    llm_api_key: SecretStr | None = Field(None, description="Key for LLM_BASE_URL, where it wants one.")
    database_url: str = Field(
        f"sqlite:///{ROOT / '5_database' / 'mediassist.db'}", description="Where the log is kept, as an SQLAlchemy URL."
    )
    index_dir: Path = Field(ROOT / "3_rag" / "chroma_db", description="Folder of the search index.")
    models_dir: Path = Field(ROOT / "3_rag" / "models", description="Folder where fetch_models.py puts the full tier.")
    scispacy_url: str = Field(
        "https://s3-us-west-2.amazonaws.com/ai2-s2-scispacy/releases/v0.5.4/en_core_sci_sm-0.5.4.tar.gz",
        description="Release archive of scispaCy's en_core_sci_sm; name a mirror where that address is closed.",
    )


@cache
def get_settings() -> Settings:
    """The settings of this process, read once.

    `.env` is loaded into the environment rather than into pydantic alone, so that what libraries read for themselves
    (HF_ENDPOINT, HTTPS_PROXY) can stand there too. What is already set in the environment wins.
    """
    load_dotenv(ROOT / ".env")
    return Settings()
