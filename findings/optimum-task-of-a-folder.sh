#!/usr/bin/env bash
# optimum 2.3.0, transformers 5.23.0, torch 2.13.0, Python 3.11.
#
# One would guess: optimum's TasksManager tells what a checkpoint is for from its folder, as it does for a hub id, and its
# NormalizedConfigManager names the sizes of every encoder that transformers has.
# What happens: in a fresh environment neither can be asked, since optimum.exporters.tasks imports requests, which optimum
# does not declare and transformers 5 does not bring: "No module named 'requests'". With requests, a folder whose config.json
# names BertForTokenClassification gives "Cannot infer the task from a local directory yet"; the class itself gives
# token-classification. Of mobilebert, squeezebert, xlnet and convbert no sizes are named, though each config answers to
# hidden_size, num_hidden_layers and num_attention_heads by itself.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check optimum==2.3.0 transformers==5.23.0 torch==2.13.0
if "$place/venv/bin/python" -c "import optimum.exporters.tasks" 2>"$place/error"; then
  echo "the behaviour has changed: requests is not missing" && exit 1
fi
tail -n 1 "$place/error"
grep -q "No module named 'requests'" "$place/error"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check requests==2.32.5
"$place/venv/bin/python" - "$place/model" <<'PYTHON' 2>/dev/null
import sys

from optimum.exporters.tasks import TasksManager
from optimum.utils import NormalizedConfigManager
from transformers import AutoConfig, BertConfig, BertForTokenClassification

folder = sys.argv[1]
sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
BertForTokenClassification(BertConfig(vocab_size=50, **sizes)).save_pretrained(folder)
print("class:", TasksManager.infer_task_from_model(BertForTokenClassification))
assert TasksManager.infer_task_from_model(BertForTokenClassification) == "token-classification"
try:
    print("folder:", TasksManager.infer_task_from_model(folder))
    raise SystemExit("the behaviour has changed: it tells the task of a folder")
except RuntimeError as error:
    print("folder:", error)

named = {}
for family in ("bert", "distilbert", "mobilebert", "squeezebert", "xlnet", "convbert"):
    config = AutoConfig.for_model(family)
    own = (config.hidden_size, config.num_hidden_layers, config.num_attention_heads)
    try:
        NormalizedConfigManager.get_normalized_config_class(family)(config)
        named[family] = True
    except KeyError:
        named[family] = False
    print(f"{family}: the config says {own}, optimum names its sizes: {named[family]}")
assert [family for family, known in named.items() if known] == ["bert", "distilbert"], "the behaviour has changed"
PYTHON
