#!/usr/bin/env bash
# Runs the tests that train, or compare what was trained, three times: as this machine is, as one that has AVX2 at most,
# and as one that has SSE4.1 alone. LibTorch, oneDNN and MKL take other paths on each, so results differ in their last
# bits, and no test may depend on them.
#   tools/instruction_sets.sh [TARGET...]     of these targets (default //...) those with the tag `training`
# Ends with a table; the status is 0 where every test passed on every set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
targets=("$@")
[ $# -gt 0 ] || targets=(//...)

names=("as it is" "AVX2" "SSE4.1")
settings=(
  ""
  "ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2"
  "ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2"
)
# Where builds are to wait for each other, BAZELW is a script that does so.
bazelw=${BAZELW:-./bazelw}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

status=0
for i in "${!names[@]}"; do
  flags=()
  for setting in ${settings[$i]}; do flags+=("--test_env=$setting"); done
  echo "instruction_sets: the tests ${names[$i]}" >&2
  # The summary of results is all that is wanted of standard output.
  "$bazelw" test --test_tag_filters=training --build_tests_only --keep_going --test_summary=short "${flags[@]}" \
    "${targets[@]}" >"$logs/$i" || status=$?
  grep -E '^//[^ ]+ +(\(cached\) )?[A-Z]+' "$logs/$i" | sed 's/ (cached)//' | awk '{print $1, $2}' | sort >"$logs/$i.results" || true
  # What failed is shown, the rest is the table's.
  grep -vE '^//[^ ]+ +(\(cached\) )?PASSED' "$logs/$i" >&2 || true
done

printf '%-55s' "test"
printf '  %-8s' "${names[@]}"
echo
cut -d' ' -f1 "$logs"/*.results | sort -u | while read -r test; do
  printf '%-55s' "$test"
  for i in "${!names[@]}"; do
    result=$(awk -v test="$test" '$1 == test {print $2}' "$logs/$i.results")
    printf '  %-8s' "${result:-not run}"
  done
  echo
done
exit "$status"
