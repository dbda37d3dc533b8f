# Trained weights: MiniLM's sentence embeddings against an independent implementation, and the ranking they give.
set -euo pipefail
exec sh tests/minilm/check.sh "$SINTER"
