# Functions for the project's bash scripts: `source scripts/lib.sh`. Not run on its own.

# The root of the source tree.
sinter_root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)

# say WORD...: a heading on stderr.
say() { printf '\n== %s\n' "$*" >&2; }

# python_venv REQUIREMENT...: sets $python to an interpreter that has these packages (pip's spelling, with versions:
# onnx==1.22.0). They go into one private environment below build/, on top of what the system has; what is
# there is not looked for again, so that a second run needs no network. Safe when several tests call it at once.
python_venv() {
    local venv=$sinter_root/build/venv
    local have=$venv/requirements.installed
    local requirement try missing
    python=$venv/bin/python
    mkdir -p "$sinter_root/build"
    exec {venv_lock}>"$venv.lock"
    flock "$venv_lock"
    if ! "$python" -m pip --version >/dev/null 2>&1; then
        rm -rf "$venv"
        /usr/bin/python3 -m venv --system-site-packages "$venv" || return 1
    fi
    touch "$have"
    missing=()
    for requirement in "$@"; do
        grep -qxF -- "$requirement" "$have" || missing+=("$requirement")
    done
    if [[ ${#missing[@]} -gt 0 ]]; then
        for try in 1 2 3 failed; do
            if [[ $try == failed ]]; then
                echo "python_venv: could not install ${missing[*]}" >&2
                return 1
            fi
            "$python" -m pip install -q --disable-pip-version-check --retries 5 "${missing[@]}" >&2 && break
            sleep $((5 * try))
        done
        printf '%s\n' "${missing[@]}" >>"$have"
    fi
    exec {venv_lock}>&-
}
