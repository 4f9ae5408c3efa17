#include "kernel/stats.h"

#include "kernel/lib/string.h"

extern const stats_provider_t __start_stats_providers[], __stop_stats_providers[];

static void emit(struct stats_sink *s, const char *prefix, const char *name, const char *value)
{
	char full[64];

	snprintf(full, sizeof(full), "%s%s", prefix ? prefix : "", name);
	s->emit(s, full, value);
}

void stats_u64(struct stats_sink *s, const char *prefix, const char *name, u64 value)
{
	char text[24];

	snprintf(text, sizeof(text), "%lu", value);
	emit(s, prefix, name, text);
}

void stats_pool(struct stats_sink *s, const char *prefix, const char *name, u64 used, u64 most,
		u64 size)
{
	char text[72];

	snprintf(text, sizeof(text), "%lu/%lu/%lu", used, most, size);
	emit(s, prefix, name, text);
}

void stats_text(struct stats_sink *s, const char *prefix, const char *name, const char *fmt, ...)
{
	char text[192];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	emit(s, prefix, name, text);
}

void stats_dump(struct stats_sink *s)
{
	for (const stats_provider_t *p = __start_stats_providers; p < __stop_stats_providers; p++)
		(*p)(s);
}
