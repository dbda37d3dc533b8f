# What tests of the command line share; sourced.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export SINTER_CACHE=${SINTER_CACHE:-$folder/shared}
failures=0

# expect STATUS PART WORD...: `sinter WORD...` exits with STATUS and prints PART somewhere.
expect() {
    local status=$1 part=$2 got=0
    shift 2
    "$SINTER" "$@" >"$folder/out" 2>"$folder/err" </dev/null || got=$?
    if [[ $got -ne $status ]] || ! grep -qF -- "$part" "$folder/out" "$folder/err" <(echo); then
        echo "FAILED: sinter $*: status $got instead of $status, or no '$part' in:"
        head -n 12 "$folder/out" "$folder/err"
        failures=$((failures + 1))
    fi
}

# silent out|err WHAT: the last command printed nothing there.
silent() {
    [[ ! -s $folder/$1 ]] || { echo "FAILED: $2 printed on std$1:"; cat "$folder/$1"; failures=$((failures + 1)); }
}
