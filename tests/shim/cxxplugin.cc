/* SPDX-License-Identifier: Apache-2.0
 * cxxplugin.cc - a C++ library for a C program: it allocates with new, throws and catches.
 * SHARED */
#include <map>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

namespace {
struct alignas(128) wide {
	char bytes[256];
};

[[gnu::noinline]] int thrower(int depth)
{
	std::string text(static_cast<size_t>(depth) * 10 + 40, 'x');
	std::vector<int> numbers(64, depth);

	if (depth == 0)
		throw std::runtime_error(text);
	return thrower(depth - 1) + numbers[3] + static_cast<int>(text.size());
}
}

extern "C" int cxx_throw_and_catch(int rounds)
{
	int caught = 0;

	for (int i = 0; i < rounds; i++) {
		try {
			thrower(i % 20);
		} catch (const std::exception &e) {
			caught += e.what()[0] == 'x';
		}
	}
	return caught;
}

extern "C" int cxx_out_of_memory(void)
{
	volatile size_t huge = static_cast<size_t>(-1) / 4;

	try {
		char *p = new char[huge];

		__asm__ volatile("" : : "r"(p) : "memory");
		delete[] p;
	} catch (const std::bad_alloc &) {
		return 1;
	}
	return 0;
}

extern "C" void *cxx_keep(void)
{
	wide *w = new wide;
	char *many = new (std::nothrow) char[100];
	auto *table = new std::map<int, std::string>;

	for (int i = 0; i < 100; i++)
		(*table)[i] = std::string(50, 'y');
	delete table;
	delete w;
	delete[] many;
	return new char[777];
}
