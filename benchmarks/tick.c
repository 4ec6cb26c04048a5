// What sampling costs in C: opens each file of each cgroup once, then preads, parses and derives the same numbers.
//
//     tick ROOT CGROUPS FILE:KIND[:FIELD,FIELD...] ...
//
// KIND is number, flat (fields in the order of the file), pressure or io. Cgroups are ROOT/0, ROOT/1, ... For each line
// on standard input one round is made and its nanoseconds of CPU time are printed, with a sum that keeps the compiler honest.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FILES = 16, MAX_FIELDS = 32, BUFFER = 16 * 1024 };

enum kind { NUMBER, FLAT, PRESSURE, IO };

struct source {
	const char *file;
	enum kind kind;
	int count;
	struct { const char *name; size_t size; } fields[MAX_FIELDS];
};

struct reading {
	int fd;
	double previous[MAX_FIELDS];
};

static struct source sources[MAX_FILES];
static int source_count;
static double values[MAX_FIELDS];
static char text[BUFFER + 1];

static const char *number(const char *at, double *value)
{
	uint64_t whole = 0;
	for (; *at >= '0' && *at <= '9'; at++)
		whole = whole * 10 + (uint64_t)(*at - '0');
	*value = (double)whole;
	return at;
}

static const char *percent(const char *at, double *value)
{
	double part;
	at = number(at, value);
	if (*at == '.') {
		at = number(at + 1, &part);
		*value += part / 100;
	}
	*value /= 100;
	return at;
}

static int parse_flat(const struct source *source)
{
	const char *at = text;
	for (int found = 0; found < source->count && *at;) {
		size_t size = source->fields[found].size;
		if (!memcmp(at, source->fields[found].name, size) && at[size] == ' ')
			at = number(at + size + 1, &values[found++]);
		at = strchr(at, '\n');
		if (!at)
			break;
		at++;
	}
	return source->count;
}

static int parse_pressure(int averages)
{
	const char *at = text;
	int found = 0;
	for (int line = 0; line < 2; line++) {
		if (averages) {
			at = strchr(at, '=');
			if (!at)
				break;
			at = percent(at + 1, &values[found++]);
			at = percent(at + sizeof(" avg60=") - 1, &values[found++]);
		}
		at = strstr(at, "total=");
		if (!at)
			break;
		at = number(at + sizeof("total=") - 1, &values[found++]);
	}
	return found;
}

static int parse_io(void)
{
	int found = 0;
	for (const char *at = text; *at && found + 4 <= MAX_FIELDS;) {
		for (int field = 0; field < 4; field++) {
			at = strchr(at, '=');
			if (!at)
				return found;
			at = number(at + 1, &values[found++]);
		}
		at = strchr(at, '\n');
		if (!at)
			break;
		at++;
	}
	return found;
}

static double sample(const struct source *source, struct reading *reading)
{
	double sum = 0;
	int count = 1;
	ssize_t size = reading->fd < 0 ? -1 : pread(reading->fd, text, BUFFER, 0);
	if (size <= 0)
		return 0;
	text[size] = 0;
	switch (source->kind) {
	case NUMBER: number(text, &values[0]); break;
	case FLAT: count = parse_flat(source); break;
	case PRESSURE: count = parse_pressure(source->count); break;
	case IO: count = parse_io(); break;
	}
	for (int index = 0; index < count; index++) {
		sum += (values[index] - reading->previous[index]) / 1.0;
		reading->previous[index] = values[index];
	}
	return sum;
}

static void add_source(char *word)
{
	struct source *source = &sources[source_count++];
	source->file = strtok(word, ":");
	const char *kind = strtok(NULL, ":");
	source->kind = !strcmp(kind, "flat") ? FLAT : !strcmp(kind, "pressure") ? PRESSURE : !strcmp(kind, "io") ? IO : NUMBER;
	for (char *name = strtok(NULL, ","); name; name = strtok(NULL, ",")) {
		source->fields[source->count].name = name;
		source->fields[source->count++].size = strlen(name);
	}
}

static struct reading *open_all(const char *root, int cgroups)
{
	struct reading *readings = calloc((size_t)cgroups * (size_t)source_count, sizeof *readings);
	for (int index = 0; readings && index < cgroups * source_count; index++) {
		snprintf(text, sizeof text, "%s/%d/%s", root, index / source_count, sources[index % source_count].file);
		readings[index].fd = open(text, O_RDONLY | O_CLOEXEC);
	}
	return readings;
}

int main(int argc, char **argv)
{
	if (argc < 4 || argc - 3 > MAX_FILES)
		return 2;
	for (int index = 3; index < argc; index++)
		add_source(argv[index]);
	int cgroups = atoi(argv[2]);
	struct reading *readings = open_all(argv[1], cgroups);
	if (!readings)
		return 1;
	while (getchar() != EOF) {
		struct timespec start, end;
		double sum = 0;
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
		for (int index = 0; index < cgroups * source_count; index++)
			sum += sample(&sources[index % source_count], &readings[index]);
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
		printf("%lld %g\n", (end.tv_sec - start.tv_sec) * 1000000000LL + end.tv_nsec - start.tv_nsec, sum);
		fflush(stdout);
	}
	return 0;
}
