/* SPDX-License-Identifier: Apache-2.0
 * cxx.cc - every operator new and delete, and exceptions that pass through them.
 *   cxx STEPS [noexcept]     without exceptions, for an allocator that cannot throw */
#include <cstdlib>
#include <cstring>
#include <new>

#include "ledger.h"

namespace {
const std::align_val_t wide{ 256 };
int handler_calls;

void *take(unsigned how, size_t n)
{
	switch (how) {
	case 0: return ::operator new(n);
	case 1: return ::operator new[](n);
	case 2: return ::operator new(n, std::nothrow);
	case 3: return ::operator new[](n, std::nothrow);
	case 4: return ::operator new(n, wide);
	case 5: return ::operator new[](n, wide);
	case 6: return ::operator new(n, wide, std::nothrow);
	default: return ::operator new[](n, wide, std::nothrow);
	}
}

void give(unsigned how, void *p, size_t n, bool sized)
{
	switch (how) {
	case 0: sized ? ::operator delete(p, n) : ::operator delete(p); break;
	case 1: sized ? ::operator delete[](p, n) : ::operator delete[](p); break;
	case 2: ::operator delete(p, std::nothrow); break;
	case 3: ::operator delete[](p, std::nothrow); break;
	case 4: sized ? ::operator delete(p, n, wide) : ::operator delete(p, wide); break;
	case 5: sized ? ::operator delete[](p, n, wide) : ::operator delete[](p, wide); break;
	case 6: ::operator delete(p, wide, std::nothrow); break;
	default: ::operator delete[](p, wide, std::nothrow); break;
	}
}

struct refusal {};

void handler()
{
	handler_calls++;
	throw refusal();
}

void exceptions()
{
	volatile size_t huge = static_cast<size_t>(-1) / 4;

	for (int i = 0; i < 100; i++) {
		try {
			::operator delete(::operator new(huge));
			std::_Exit(4);
		} catch (const std::bad_alloc &) {
		}
		if (::operator new(huge, std::nothrow))
			std::_Exit(5);
	}
	std::set_new_handler(handler);
	for (int i = 0; i < 100; i++) {
		try {
			::operator delete(::operator new(huge, wide));
			std::_Exit(6);
		} catch (const refusal &) {
		}
	}
	std::set_new_handler(nullptr);
	if (handler_calls != 100)
		std::_Exit(7);
}
}

int main(int argc, char **argv)
{
	long steps = argc > 1 ? std::atol(argv[1]) : 0;
	static void *slot[64];
	static size_t size[64];
	uint64_t seed = 0x853c49e6748fea9bull;

	for (long s = 0; s < steps; s++) {
		uint64_t r = ledger_random(&seed);
		unsigned i = r % 64, how = i % 8;

		if (slot[i]) {
			give(how, slot[i], size[i], r & 0x100);
			ledger_add(-1, -static_cast<int64_t>(size[i]));
			slot[i] = nullptr;
		} else {
			/* libstdc++ rounds the size of aligned blocks up: nothing to round here */
			size[i] = how < 4 ? 1 + (r >> 16) % 3000 : 256 * (1 + (r >> 16) % 12);
			slot[i] = take(how, size[i]);
			std::memset(slot[i], 1, size[i]);
			ledger_add(1, static_cast<int64_t>(size[i]));
		}
	}
	if (steps) {
		if (argc < 3)
			exceptions();
		ledger_keep(std::malloc(50), 50);		/* the guard was left in order: this is recorded */
	}
	ledger_print();
	return 0;
}
