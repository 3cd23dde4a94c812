# Runs all benchmarks: `run.sh BUILD-DIRECTORY`. Called by tools/dev bench, which sets the environment.
set -u
bin=$1/bin
status=0
printf '\njournal, on the disk of /var/tmp\n'
"$bin/bench_journal" || status=1
printf '\na long run: the lab at an event, audit\n'
"$bin/bench_audit" || status=1
printf '\nfold\n'
"$bin/bench_core" || status=1
echo
"$bin/bench_pairs" || status=1
printf '\ntest files, one after the other, a journal on the disk of /var/tmp\n'
"$bin/bench_files" "$bin" || status=1
printf '\nlab graph, through Lua\n'
"$bin/bench_graph" || status=1
printf '\nguests, the default guest under TCG\n'
"$bin/bench_vm" "$bin" || status=1
printf '\nsnapshots and restores, the default guest under TCG\n'
"$bin/bench_snapshot" "$bin" || status=1
printf '\nboots from a template, resets, clones\n'
sh "$(dirname "$0")/labs.sh" "$bin" || status=1
printf '\nthe switch of a bridge\n'
"$bin/bench_net" || status=1
"$bin/bench_net_vm" "$bin" || status=1
sh "$(dirname "$0")/crowd.sh" "$bin" || status=1
printf '\nthe journal in a lab run\n'
sh "$(dirname "$0")/cost.sh" "$bin" || status=1
exit $status
