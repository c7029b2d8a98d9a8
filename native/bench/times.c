/* Percentiles of single measurements. */
#include <stdio.h>
#include <stdlib.h>

#include "loadgen.h"

static int compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

void print_times(const char *name, uint64_t *times, size_t count) {
  static const struct {
    const char *name;
    double fraction;
  } figures[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}};
  qsort(times, count, sizeof *times, compare);
  printf("\"%s\":{", name);
  for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
    size_t at = (size_t)((double)count * figures[i].fraction);
    double us = count == 0 ? 0 : (double)times[at < count ? at : count - 1] / 1e3;
    printf("%s\"%s\":%.1f", i == 0 ? "" : ",", figures[i].name, us);
  }
  printf("}");
}
