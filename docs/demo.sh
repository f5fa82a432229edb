#!/usr/bin/env bash
# The main job, start to end: learn from behaviour, then predict age by PeterRec and by full
# fine-tuning, compare the two, and hand the user vectors on. Under 4 minutes on 2 cores.
# Usage: bash docs/demo.sh [OUTPUT_DIRECTORY]
set -euo pipefail
out="${1:-demo}"
rm -rf "$out"
json=()
[ -t 1 ] || json=(--json) # a terminal is shown tables; a log gets the figures, too

run() {
  printf '\n$ recxfer %s\n' "$*"
  recxfer "$@" ${json[@]+"${json[@]}"}
}

if ! run prepare movielens-100k "$out/data"; then
  echo
  echo "MovieLens-100K could not be had (see above): the demo goes on in a synthetic world."
  run prepare synthetic "$out/data" --set users=1000
fi
run pretrain "$out/data" "$out/base" --backbone nextitnet --epochs 12
for method in peterrec finetune; do
  run transfer "$out/base" "$out/data" "$out/$method" \
    --method "$method" --task profile:age --set max_length=1000 \
    --epochs 60 --lr 0.003 --set patience=15
done
run evaluate "$out/base" --at 10
run evaluate "$out/peterrec" "$out/finetune" --report "$out/compared.html"
run export "$out/base" "$out/users.parquet" --what users
printf '\nDone: everything is in %s/; open %s/compared.html for the comparison.\n' "$out" "$out"
