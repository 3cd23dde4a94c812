# Reads `provium journal show` of a run that was killed and resumed. Fails if frames were lost although the runner died while they were in their file
# alone, or loaded and held.
/frames to .*lan\.frames/ { saves++; saved = 0 }
/frames done: .* under way, / { if (!loading) saved = 1 }
/frames from .*lan\.frames/ { loading = 1; loads++ }
/frames: time goes on/ { if (loading) going = 1 }
/frames done: [0-9]* under way  / { if (going) { loading = going = saved = 0 } }
/run resumed/ { if (saved) kept = loads + (loading ? 0 : 1) }
/"?lost"?$/ { if (kept == 1) bad = 1 }
END { exit bad }
