# Prints the results of several runs of `guest` as a table: a row for each check, a column for each file, which is
# named MANAGER-RUNTIME, and rows for what they measured. Then the counts of the runtime `runtime`.
FNR == 1 { column[++columns] = FILENAME; sub(/.*\//, "", column[columns]); of[columns] = column[columns]; sub(/.*-/, "", of[columns]) }
/^(ok|skipped|FAILED) / {
  name = $2; sub(/^kubernetes\//, "", name); sub(/:$/, "", name)
  if (!(name in seen)) { seen[name] = 1; row[++rows] = name }
  cell[name, columns] = $1
  if ($1 == "skipped") { sub(/^[^:]*: /, ""); why[name] = $0 }
}
/^        [^|]* = [0-9]+$/ {
  number = $NF; sub(/^ +/, ""); sub(/ = .*/, "")
  if (!($0 in measured)) { measured[$0] = 1; row[++rows] = $0 }
  cell[$0, columns] = number
}
/^[0-9]+ passed/ && of[columns] == runtime { passed += $1; failed += $3; skipped += $5 }
END {
  printf "%-42s", "check"; for (i = 1; i <= columns; i++) printf " %-16s", column[i]; print ""
  for (r = 1; r <= rows; r++) {
    printf "%-42s", row[r]
    for (i = 1; i <= columns; i++) printf " %-16s", ((row[r], i) in cell) ? cell[row[r], i] : "-"
    print (row[r] in why) ? " " why[row[r]] : ""
  }
  printf "\n%d passed, %d failed, %d skipped\n", passed, failed, skipped
}
