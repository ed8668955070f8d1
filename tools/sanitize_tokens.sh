#!/bin/sh
# Run the tests of tokens on an extension built with ASan and UBSan, beside the checkout's own: tools/sanitize_tokens.sh
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-$root/.venv/bin/python}
cp -rL "$root/src/inferometer" "$work/inferometer"
rm -f "$work"/inferometer/tokens/_native*.so
# shellcheck disable=SC2046 # the include path and the suffix are single words
${CC:-gcc} -shared -fPIC -std=c11 -O1 -g -fvisibility=hidden -fno-strict-aliasing -fno-omit-frame-pointer \
    -fsanitize=address,undefined -fno-sanitize-recover=undefined \
    -I"$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')" "$root"/tokens/csrc/*.c \
    -o "$work/inferometer/tokens/_native$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')" -lm
cd "$root"
# the sweep over all code points spends its time in the reference; what memory a huge piece leaves is the sanitizer's;
# processes of their own would miss the preloaded library
PYTHONPATH="$work" ASAN_OPTIONS=detect_leaks=0 \
    LD_PRELOAD="$(${CC:-gcc} -print-file-name=libasan.so) $(${CC:-gcc} -print-file-name=libubsan.so)" \
    "$python" -m pytest -q tests/tokens -p no:cacheprovider -k "not six_contexts and not huge_piece and not two_processes and not not_imported"
