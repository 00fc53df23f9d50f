/*
 * Fuzz target: the text of metrics.
 *
 * Lines of the input are values of labels, choices are numbers.  What is written
 * is read here as Prometheus reads it: each line is a comment or a sample, labels
 * and numbers are those that were put, and buckets ascend.
 */
#include "stand_ins.h"

#include "../../src/exposition.c"

const uint64 bounds[] = {
	1000, 1000000, UINT64CONST(1000000000), UINT64CONST(10000000000000), 0
};

/* As in texts.c, which has a target of its own. */
char *
imon_valid_text(const char *bytes)
{
	char	   *copy = pstrdup(bytes);

	for (char *c = copy; !fuzz_is_valid(bytes) && *c; c++)
		if (IS_HIGHBIT_SET(*c))
			*c = '?';
	return copy;
}

/* Reads a value in quotes, and moves *at behind it. */
static char *
quoted(const char **at)
{
	StringInfoData value;

	initStringInfo(&value);
	MUST(*(*at)++ == '"');
	for (; **at != '"'; (*at)++)
	{
		bool		escaped = **at == '\\';

		if (escaped)
			(*at)++;
		MUST(**at != '\0' && **at != '\n');
		MUST(!escaped || **at == '\\' || **at == '"' || **at == 'n');
		appendStringInfoChar(&value, escaped && **at == 'n' ? '\n' : **at);
	}
	(*at)++;
	return value.data;
}

/* Reads a sample and its labels; returns its number. */
static double
sample(const char **at, const char *name, const ImonLabels *labels, const char *le)
{
	char	   *end;
	double		number;

	MUST(strncmp(*at, name, strlen(name)) == 0);
	*at += strlen(name);
	if (labels->n > 0 || le)
		MUST(*(*at)++ == '{');
	for (int i = 0; i < labels->n; i++)
	{
		size_t		length = strlen(labels->names[i]);

		MUST(strncmp(*at, labels->names[i], length) == 0 && (*at)[length] == '=');
		*at += length + 1;
		MUST(strcmp(quoted(at), labels->values[i]) == 0);
		if (i + 1 < labels->n || le)
			MUST(*(*at)++ == ',');
	}
	if (le)
	{
		MUST(strncmp(*at, "le=", 3) == 0);
		*at += 3;
		MUST(strcmp(quoted(at), le) == 0);
	}
	if (labels->n > 0 || le)
		MUST(*(*at)++ == '}');
	MUST(*(*at)++ == ' ');
	number = strtod(*at, &end);
	MUST(*end == '\n' && end > *at);
	*at = end + 1;
	return number;
}

/* Lines of the input, as values of labels; those above so many are not looked at. */
static void
make_labels(ImonLabels *labels, char *text)
{
	static const char *const names[IMON_MAX_LABELS] = {
		"a", "role", "database", "queryid", "application_name", "e", "le_"
	};

	for (char *line = strtok(text, "\036"); line && labels->n < IMON_MAX_LABELS; line = strtok(NULL, "\036"))
		imon_add_label(labels, names[labels->n], imon_text_label(line));
}

static void
check_histogram(ImonExposition *exposition, const ImonLabels *labels,
				const uint64 *counts, double sum)
{
	static const char *const le[] = {"1e-06", "0.001", "1", "10000", "+Inf"};
	const char *at = exposition->text.data + exposition->text.len;
	uint64		from = exposition->samples;
	double		last = 0;

	imon_family(exposition, "h", IMON_HISTOGRAM, "Help.");
	imon_put_histogram(exposition, labels, counts, sum, bounds);
	at = strstr(exposition->text.data, " histogram\n") + strlen(" histogram\n");
	for (int i = 0; i < lengthof(le); i++)
	{
		double		count = sample(&at, "infra_monitor_h_bucket", labels, le[i]);

		MUST(count >= last);
		last = count;
	}
	MUST(sample(&at, "infra_monitor_h_sum", labels, NULL) == sum);
	MUST(sample(&at, "infra_monitor_h_count", labels, NULL) == last);
	MUST(*at == '\0');
	MUST(exposition->samples == from + lengthof(le) + 2);
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	FuzzInput	input = {data, size};
	ImonExposition exposition = {0};
	ImonLabels	labels = {0};
	uint64		counts[IMON_HISTOGRAM_BUCKETS] = {0};
	double		number;
	uint64		bits = 0;
	double		read;
	const char *at;

	fuzz_begin();
	fuzz_encoding = fuzz_choice(&input) == 1 ? PG_SQL_ASCII : PG_UTF8;
	for (int i = 0; i < 8; i++)
		bits = bits << 8 | fuzz_choice(&input);
	memcpy(&number, &bits, sizeof(number));
	for (int i = 0; i < 4; i++)
		counts[fuzz_choice(&input) % IMON_HISTOGRAM_BUCKETS] += fuzz_choice(&input);

	make_labels(&labels, fuzz_text(&input));
	initStringInfo(&exposition.text);
	imon_family(&exposition, "n", IMON_GAUGE, "Help.");
	imon_put_number(&exposition, &labels, number);
	imon_put_count(&exposition, &labels, bits);
	MUST(pg_encoding_verifymbstr(PG_UTF8, exposition.text.data, exposition.text.len) ==
		 exposition.text.len);

	at = strstr(exposition.text.data, " gauge\n") + strlen(" gauge\n");
	if (!isnan(number))
	{
		read = sample(&at, "infra_monitor_n", &labels, NULL);
		MUST(memcmp(&read, &number, sizeof(read)) == 0);
	}
	MUST(sample(&at, "infra_monitor_n", &labels, NULL) == (double) bits);
	MUST(*at == '\0');
	if (!isnan(number))
		check_histogram(&exposition, &labels, counts, number);
	return 0;
}
