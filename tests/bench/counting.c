// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A QEMU plugin that counts the instructions of a guest's kernel and of all that it runs, until its
 * console has printed a text. Idle time does not count: an idle processor executes nothing.
 *
 * Arguments: console=FILE,text=TEXT,out=FILE. Once FILE has TEXT, the count goes to out. Counting
 * starts with the first instruction in the upper half of the address space, so that neither the
 * firmware nor the kernel's decompressor count.
 *
 * Debian has no package with qemu-plugin.h, so what is used of it is declared here (QEMU's
 * include/qemu/qemu-plugin.h); it is the same in all versions of that interface. VERSION is the
 * version that this QEMU wants.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define EVERY 100000 /* instructions between two looks at the console */

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_info;

typedef void (*trans_cb)(plugin_id id, struct qemu_plugin_tb *tb);
typedef void (*exec_cb)(unsigned int vcpu, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, trans_cb cb);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, exec_cb cb, int flags,
					  void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);

EXPORT int qemu_plugin_version = VERSION;

static char console[4096], text[256], out[4096];
static char tail[1 << 16];
static size_t kept;
static int console_fd = -1;
static off_t seen;
static bool started;
static uint64_t total, next;

static bool printed(void)
{
	size_t size = strlen(text);
	ssize_t got;

	if (console_fd < 0)
		console_fd = open(console, O_RDONLY | O_CLOEXEC);
	while ((got = pread(console_fd, tail + kept, sizeof(tail) - kept, seen)) > 0) {
		seen += got;
		kept += got;
		if (memmem(tail, kept, text, size))
			return true;
		/* The text may have been cut in two. */
		if (kept >= size) {
			memmove(tail, tail + kept - (size - 1), size - 1);
			kept = size - 1;
		}
	}
	return false;
}

static void look(void)
{
	FILE *file;

	next = total + EVERY;
	if (!printed())
		return;
	next = UINT64_MAX;
	file = fopen(out, "w");
	if (file) {
		fprintf(file, "%llu\n", (unsigned long long)total);
		fclose(file);
	}
}

static void executed(unsigned int vcpu, void *data)
{
	(void)vcpu;
	if (!started)
		return;
	total += (uintptr_t)data;
	if (total >= next)
		look();
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb)
{
	(void)id;
	if (qemu_plugin_tb_vaddr(tb) >> 63)
		started = true;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, 0,
					     (void *)(uintptr_t)qemu_plugin_tb_n_insns(tb));
}

static void take(char *into, size_t size, const char *name, const char *argument)
{
	size_t length = strlen(name);

	if (!strncmp(argument, name, length) && argument[length] == '=')
		snprintf(into, size, "%s", argument + length + 1);
}

EXPORT int qemu_plugin_install(plugin_id id, const struct qemu_info *info, int argc, char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++) {
		take(console, sizeof(console), "console", argv[i]);
		take(text, sizeof(text), "text", argv[i]);
		take(out, sizeof(out), "out", argv[i]);
	}
	if (!*console || !*text || !*out)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
