/* SPDX-License-Identifier: Apache-2.0
 * snap_objects.cc - objects whose classes can be told from memory alone, and blocks that only look so. */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

namespace shop {

struct Item {
	virtual ~Item() {}
	long price = 1;
};
struct Book : Item { char title[80]; };
struct Second { virtual void other() {} long y = 2; };
struct Both : Item, Second { long z = 3; };
template <typename T> struct Box : Item { T value; };

}

namespace {
struct Hidden : shop::Item { long h = 4; };
}

std::vector<shop::Item *> g_items;
shop::Second *g_second;			/* points into the middle of its object */
void **g_fakes[64];
std::shared_ptr<shop::Book> g_shared;
static const char *const names[] = { "no", "virtual", "table" };

int main()
{
	struct Local : shop::Item { long l = 5; };
	shop::Both *both = new shop::Both;

	for (int i = 0; i < 11; i++)
		g_items.push_back(new shop::Book);
	for (int i = 0; i < 7; i++)
		g_items.push_back(new shop::Box<std::string>);
	for (int i = 0; i < 5; i++)
		g_items.push_back(new Hidden);
	for (int i = 0; i < 3; i++)
		g_items.push_back(new Local);
	g_second = both;
	g_shared = std::make_shared<shop::Book>();
	/* first words that point at read-only data, at code, and just beside a real table */
	for (int i = 0; i < 64; i++) {
		g_fakes[i] = (void **)malloc(777);
		memset((void *)g_fakes[i], 0, 777);
	}
	for (int i = 0; i < 16; i++) {
		g_fakes[i][0] = (void *)(names + i % 3);
		g_fakes[i + 16][0] = (void *)(unsigned long)&main;
		g_fakes[i + 32][0] = (char *)*(void **)both + 8 * (1 + i % 3);
		g_fakes[i + 48][0] = (char *)*(void **)both - 8 * (1 + i % 2);
	}
	puts("ready");
	fflush(stdout);
	char line[64];

	return fgets(line, sizeof(line), stdin) ? 9 : 0;
}
