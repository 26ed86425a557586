/* SPDX-License-Identifier: Apache-2.0
 * L1  rebind.c - give one loaded library other functions than the rest of the process.
 *
 * The library's relocations name every slot through which it calls out (DT_JMPREL, and DT_RELA where
 * it was built without a PLT). Slots that the loader has made read-only are opened for the one store.
 * Nothing is written anywhere else, and no other library notices. */
#include "preload/rebind.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "preload/sys.h"

#define PAGE_MASK 4095ull

#if defined(__x86_64__)
#define IS_SLOT(type) ((type) == R_X86_64_JUMP_SLOT || (type) == R_X86_64_GLOB_DAT)
#elif defined(__aarch64__)
#define IS_SLOT(type) ((type) == R_AARCH64_JUMP_SLOT || (type) == R_AARCH64_GLOB_DAT)
#endif

struct imports {
	const ElfW(Sym) *symbols;
	const char *names;
	const ElfW(Rela) *rela, *plt;
	size_t rela_bytes, plt_bytes;
};

static void read_dynamic(const ElfW(Dyn) *dynamic, struct imports *imports)
{
	for (; dynamic->d_tag != DT_NULL; dynamic++) {
		switch (dynamic->d_tag) {
		case DT_SYMTAB:
			imports->symbols = (const void *)dynamic->d_un.d_ptr;
			break;
		case DT_STRTAB:
			imports->names = (const void *)dynamic->d_un.d_ptr;
			break;
		case DT_RELA:
			imports->rela = (const void *)dynamic->d_un.d_ptr;
			break;
		case DT_RELASZ:
			imports->rela_bytes = dynamic->d_un.d_val;
			break;
		case DT_JMPREL:
			imports->plt = (const void *)dynamic->d_un.d_ptr;
			break;
		case DT_PLTRELSZ:
			imports->plt_bytes = dynamic->d_un.d_val;
			break;
		}
	}
}

/* Is the page made read-only after relocation (PT_GNU_RELRO)? The headers lie at the load address. */
static int is_relro(const struct link_map *map, uint64_t page)
{
	const ElfW(Ehdr) *header = (const void *)map->l_addr;
	const ElfW(Phdr) *ph;

	if (memcmp(header->e_ident, ELFMAG, SELFMAG))
		return 0;
	ph = (const void *)(map->l_addr + header->e_phoff);
	for (int i = 0; i < header->e_phnum; i++) {
		uint64_t start = map->l_addr + ph[i].p_vaddr;

		if (ph[i].p_type == PT_GNU_RELRO && page >= (start & ~PAGE_MASK) &&
		    page < ((start + ph[i].p_memsz) & ~PAGE_MASK))
			return 1;
	}
	return 0;
}

static int store(void **slot, void *function, const struct link_map *map)
{
	uint64_t page = (uint64_t)(uintptr_t)slot & ~PAGE_MASK;
	int relro = is_relro(map, page);

	if (relro && ld__sys3(SYS_mprotect, page, PAGE_MASK + 1, PROT_READ | PROT_WRITE) < 0)
		return 0;
	__atomic_store_n(slot, function, __ATOMIC_RELEASE);
	if (relro)
		ld__sys3(SYS_mprotect, page, PAGE_MASK + 1, PROT_READ);
	return 1;
}

static int rebind_all(const struct imports *imports, const ElfW(Rela) *list, size_t bytes,
		      const struct link_map *map, const struct rebinding *rebindings, size_t count)
{
	int changed = 0;

	for (size_t i = 0; list && i < bytes / sizeof(*list); i++) {
		const char *name;

		if (!IS_SLOT(ELF64_R_TYPE(list[i].r_info)))
			continue;
		name = imports->names + imports->symbols[ELF64_R_SYM(list[i].r_info)].st_name;
		for (size_t k = 0; k < count; k++) {
			if (strcmp(name, rebindings[k].name))
				continue;
			changed += store((void **)(map->l_addr + list[i].r_offset), rebindings[k].function,
					 map);
		}
	}
	return changed;
}

int ld__rebind(void *handle, const struct rebinding *rebindings, size_t count)
{
	struct imports imports = { .symbols = NULL };
	struct link_map *map = NULL;

	if (dlinfo(handle, RTLD_DI_LINKMAP, &map) || !map || !map->l_ld)
		return -EINVAL;
	read_dynamic(map->l_ld, &imports);
	if (!imports.symbols || !imports.names)
		return -EINVAL;
	return rebind_all(&imports, imports.rela, imports.rela_bytes, map, rebindings, count) +
	       rebind_all(&imports, imports.plt, imports.plt_bytes, map, rebindings, count);
}
