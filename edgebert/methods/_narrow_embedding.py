"""The teacher's embedding, a table as wide as its layers and a layer norm, for student families with a narrow table.

Layer norm does not see a shift of all numbers of a row, so the shift is taken out of every row of the teacher's tables
first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.methods._teacher_weights import embedding_norm, tables_of

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig

WORDS, PLACES, TYPES = "word_embeddings", "position_embeddings", "token_type_embeddings"


def check_width(width: int, config: ModelConfig, where: str) -> None:
    """Raises RequestError where a narrow table would be wider than the teacher's layers."""
    if width > config.hidden_size:
        what = f"a word table of width {width} is wider than the teacher's {config.hidden_size}"
        raise RequestError(what, where=where, hint="Choose a smaller one.")


def centred_tables(model: PreTrainedModel, config: ModelConfig) -> dict[str, Tensor]:
    """Word, position and type rows (n, H) without their shift; {} where the teacher has none of the layers' width H.

    A teacher without a table of positions, as one that rotates query and key by them, gives none: the student's is random.
    """
    words, places, types = tables_of(model, config.type_vocab_size)
    result = {WORDS: words, TYPES: types} | ({} if places is None else {PLACES: places})
    if {table.shape[1] for table in result.values()} != {config.hidden_size}:
        return {}
    return {name: table - table.mean(1, keepdim=True) for name, table in result.items()}


def summing_to_zero(width: int) -> Tensor:
    """(width - 1, width), rows orthonormal, each with sum 0."""
    import torch

    start = torch.eye(width, dtype=torch.double)
    start[:, 0] = 1.0
    return torch.linalg.qr(start).Q[:, 1:].T.float()


def factorised(tables: list[Tensor], width: int) -> tuple[list[Tensor], Tensor]:
    """Narrow tables (n, width) and the map M (H, width) from a narrow row's layer norm to the wide one's.

    A sum x of centred rows is y V, up to what the best factors of rank width - 1 lose; its narrow row is x' = y Q, with
    Q of `summing_to_zero`. Then LN(x') = √width · x'/|x'|, LN(x) = √H · x/|x| = M LN(x'), and M = √(H/width) · Vᵀ Q.

    Args:
        tables: each (n, H), every row of sum 0.
    """
    import torch

    from edgebert.modeling.rebuild import narrowed

    narrow, basis = narrowed(torch.cat(tables), width - 1)
    turn = summing_to_zero(width)
    rows = torch.split(narrow @ turn, [len(table) for table in tables])
    return list(rows), (tables[0].shape[1] / width) ** 0.5 * basis.T @ turn


def normed_embedding(model: PreTrainedModel, config: ModelConfig) -> dict[str, Tensor]:
    """ALBERT's: narrow tables, a layer norm over their sum, a map to the width of the layers.

    One that is narrow already (ELECTRA) keeps its own map.
    """
    import torch

    tables = centred_tables(model, config)
    if not tables:
        known = {name.rpartition("embeddings_project.")[2]: value for name, value in model.state_dict().items()}
        own = {name: known[name] for name in ("weight", "bias") if name in known}
        return {f"encoder.embedding_hidden_mapping_in.{name}": value for name, value in own.items()}
    scale, shift = embedding_norm(model, config.hidden_size)
    narrow, mapping = factorised(list(tables.values()), config.embedding_size)
    return {
        **{f"embeddings.{name}.weight": table for name, table in zip(tables, narrow, strict=True)},
        "embeddings.LayerNorm.weight": torch.ones(config.embedding_size),
        "embeddings.LayerNorm.bias": torch.zeros(config.embedding_size),
        "encoder.embedding_hidden_mapping_in.weight": scale[:, None] * mapping,
        "encoder.embedding_hidden_mapping_in.bias": shift,
    }


def scaled_embedding(model: PreTrainedModel, config: ModelConfig) -> dict[str, Tensor]:
    """MobileBERT's: a narrow word table with a map of three neighbours, wide positions and types, and γ ∘ h + β.

    A layer norm divides each row by its deviation; here γ is divided by the mean one.
    """
    import torch

    from edgebert.modeling.rebuild import narrowed

    tables = centred_tables(model, config)
    if not tables:
        return {}
    place = tables[PLACES].mean(0) if PLACES in tables else 0.0
    deviation = (tables[WORDS] + place + tables[TYPES][0]).square().mean(1).sqrt().mean()
    narrow, basis = narrowed(tables[WORDS], config.embedding_size)
    neighbour = torch.zeros_like(basis.T)
    scale, shift = embedding_norm(model, config.hidden_size)
    return {
        **{f"embeddings.{name}.weight": table for name, table in (tables | {WORDS: narrow}).items()},
        "embeddings.embedding_transformation.weight": torch.cat([neighbour, basis.T, neighbour], 1),
        "embeddings.embedding_transformation.bias": torch.zeros(config.hidden_size),
        "embeddings.LayerNorm.weight": scale / deviation,
        "embeddings.LayerNorm.bias": shift,
    }
