"""A tiny model of random weights for every family in scope: what converters are tried on."""

from __future__ import annotations

from typing import Any

HEADS = {
    "token-classification": "AutoModelForTokenClassification",
    "sequence-classification": "AutoModelForSequenceClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "sentence-embedding": "AutoModel",
}
COMMON = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 80,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "cls_token_id": 1,
    "sep_token_id": 2,
}
# What a family calls by another name, or needs besides.
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {},
    "albert": {"embedding_size": 16},
    "electra": {"embedding_size": 16},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    "mobilebert": {"embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16},
    "squeezebert": {"embedding_size": 32},
    "mpnet": {},
    "deberta": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 16,
                   "share_att_key": True, "norm_rel_ebd": "layer_norm", "position_biased_input": False},
    "big_bird": {"attention_type": "original_full"},
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64},
    "ernie": {},
    "megatron-bert": {},
    "convbert": {"embedding_size": 32, "head_ratio": 2, "conv_kernel_size": 3},
    "funnel": {"d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 64, "block_sizes": [1, 1], "num_decoder_layers": 1},
    "roformer": {"embedding_size": 32},
    "fnet": {},
    "xlm-roberta": {},
    "camembert": {},
    "modernbert": {"global_attn_every_n_layers": 2, "local_attention": 8},
    "eurobert": {"num_key_value_heads": 2, "mask_token_id": 4},
    "nomic_bert": {},
}  # fmt: skip
WITHOUT_SPANS = ("eurobert", "nomic_bert")  # transformers has none of these with a question-answering head


def tiny(family: str, head: str = "token-classification", n_labels: int = 5, **changes: Any) -> Any:
    """A model in eval mode, eager attention, seeded. Weights are enlarged so that a wrong one shows in the output."""
    import torch
    import transformers
    from transformers import AutoConfig

    torch.manual_seed(0)
    n = 2 if head == "question-answering" else n_labels
    values = COMMON | FAMILIES[family] | changes
    if family in ("xlnet", "funnel", "distilbert"):  # these names are aliases there, and would be set twice
        for alias in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"):
            values.pop(alias, None)
    if family == "xlnet":  # which knows no limit and refuses to be told one
        del values["max_position_embeddings"]
    config = AutoConfig.for_model(family, **values, num_labels=n)
    config.architectures = ["FunnelModel"] if family == "funnel" else None  # two base classes: it must be told which
    model = getattr(transformers, HEADS[head]).from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() >= 2:
                parameter.mul_(3.0)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.1)
    return model.eval()
