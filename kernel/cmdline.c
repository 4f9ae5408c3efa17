/*
 * The kernel command line: words split as Linux does, each handed to the file that declared it
 * (init.h).
 */
#include "boot/boot.h"
#include "kernel/init.h"
#include "kernel/init_calls.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/printk.h"

extern const struct obs_kernel_param __start_setup_params[], __stop_setup_params[];

/*
 * Words that Linux boot loaders and Firecracker add by habit (interface.md): silence. "8250." is a
 * prefix.
 */
static const char *const ignored[] = { "quiet",  "root",     "ro",       "rw",
				       "reboot", "nomodule", "nomodules" };

static bool is_ignored(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++) {
		if (!strcmp(name, ignored[i]))
			return true;
	}
	return !strncmp(name, "8250.", 5);
}

/* Linux takes '-' and '_' in a name for the same. */
static bool same_name(const char *a, const char *b)
{
	for (; *a && *b; a++, b++) {
		char x = *a == '-' ? '_' : *a, y = *b == '-' ? '_' : *b;

		if (x != y)
			return false;
	}
	return *a == *b;
}

static void one_word(char *word)
{
	char *val = strchr(word, '=');

	if (val)
		*val++ = '\0';
	for (const struct obs_kernel_param *p = __start_setup_params; p < __stop_setup_params;
	     p++) {
		if (!same_name(p->str, word))
			continue;
		if (p->setup_func(val) < 0)
			pr_warn("command line: %s%s%s: bad value, default kept\n", word,
				val ? "=" : "", val ? val : "");
		return;
	}
	if (!is_ignored(word))
		pr_warn("command line: unknown word '%s%s%s', ignored\n", word, val ? "=" : "",
			val ? val : "");
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* `loglevel` comes before the others: it decides what of them is seen (Linux's early_param). */
static bool is_early(const char *word)
{
	return !strncmp(word, "loglevel", 8) && (word[8] == '=' || !word[8]);
}

/* Hands on the early words of the line, or the others. */
static void parse(const char *text, bool early)
{
	static char line[BOOT_CMDLINE_SIZE];
	char *p = line;

	strscpy(line, text, sizeof(line));
	for (;;) {
		char *word;

		while (is_space(*p))
			p++;
		if (!*p)
			return;
		word = p;
		while (*p && !is_space(*p))
			p++;
		if (*p)
			*p++ = '\0';
		if (is_early(word) == early)
			one_word(word);
	}
}

void cmdline_init(const struct boot_info *bi)
{
	static char line[BOOT_CMDLINE_SIZE];

	strscpy(line, bi->cmdline, sizeof(line));
	/* What is not printable would garble the log, and is no word of ours; a file has lines. */
	for (char *c = line; *c; c++) {
		if (is_space(*c))
			*c = ' ';
		else if (*c < 0x20 || *c > 0x7e)
			*c = '?';
	}
	parse(line, true);
	pr_info("Command line: %s\n", line);
	if (bi->cmdline_cut)
		pr_warn("command line: longer than %d bytes, cut\n", BOOT_CMDLINE_SIZE - 1);
	parse(line, false);
}

int param_set_bool(const char *val, bool *out)
{
	if (!val || (val[0] != '0' && val[0] != '1') || val[1])
		return -EINVAL;
	*out = val[0] == '1';
	return 0;
}
