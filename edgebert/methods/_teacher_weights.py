"""The teacher's tables, norm and head, whatever its family calls them, under a student family's names for them.

Names are without the family's prefix, as `edgebert.modeling.rebuild.rebuilt` takes them. What a family does not have,
or calls by a name that is not listed here, is left out, and starts random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


def tables_of(model: PreTrainedModel, n_types: int) -> tuple[Tensor, Tensor | None, Tensor]:
    """Tables of words (n_tokens, width), of positions (n, width) from position 0 on, of types (n_types, width).

    Types that the teacher does not have are as its first one, or 0.
    """
    import torch

    from edgebert.modeling.rebuild import positions

    words = model.get_input_embeddings().weight.detach()
    known = [m.weight.detach() for name, m in model.named_modules() if name.endswith("token_type_embeddings")]
    types = known[0] if known and known[0].shape[1] == words.shape[1] else torch.zeros(1, words.shape[1])
    rows = [types[i if i < len(types) else 0] for i in range(n_types)]
    return words, positions(model), torch.stack(rows)


def embedding_norm(model: PreTrainedModel, width: int) -> tuple[Tensor, Tensor]:
    """Scale and shift (width,) of the layer norm over the embedding; 1 and 0 where there is none of this width."""
    import torch

    norms = [m for name, m in model.named_modules() if name.endswith(("embeddings.LayerNorm", "embeddings.norm"))]
    if not norms or norms[0].weight.shape != (width,):
        return torch.ones(width), torch.zeros(width)
    bias = norms[0].bias  # ModernBERT's has none
    return norms[0].weight.detach(), torch.zeros(width) if bias is None else bias.detach()


def sentence_head(model: PreTrainedModel, pooler: str = "pooler.dense") -> dict[str, Tensor]:
    """Of a single head over the first token: its dense layer, under the name `pooler`, and what follows.

    BERT calls the two pooler.dense and classifier; RoBERTa, MPNet and ELECTRA classifier.dense and classifier.out_proj.
    """
    renamed = {"pooler.dense.": f"{pooler}.", "classifier.dense.": f"{pooler}.", "classifier.out_proj.": "classifier."}
    results = {}
    for name, value in model.state_dict().items():
        bare = name.removeprefix(f"{model.base_model_prefix}.")
        for old, new in renamed.items():
            if bare.startswith(old):
                results[new + bare.removeprefix(old)] = value
    return results
