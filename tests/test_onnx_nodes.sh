# ONNX's own backend tests in both modes (what operators expand to, compiled alone). Inputs that decide axes and
# sizes are constants. Those of tests/models/unsupported_onnx.txt are refused as unsupported, and no others; none may give another
# result, crash or fail in another way.
set -euo pipefail
source scripts/lib.sh
python_venv onnx==1.22.0
data=$("$python" -c 'import onnx.backend.test, os; print(os.path.join(os.path.dirname(onnx.backend.test.__file__), "data"))')
for folder in node simple; do
    echo "== $folder"
    "$SINTER_BUILD/tests/test_models" "$data/$folder" tests/models/unsupported_onnx.txt
done
