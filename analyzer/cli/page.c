/* SPDX-License-Identifier: Apache-2.0
 * L1  page.c - the pieces of an HTML page that stands alone. */
#include "cli/page.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"

/* SCRIPT_HASH is base64(sha256(script)): tests/snapshot/test_report.py says what it should be. */
#define SCRIPT_HASH "sha256-8VCcIof9gfL3RioSdfxd8XOgAQJXy+GyarN1+bYN5mY="

static const char style[] =
	":root{color-scheme:light dark;--bg:#fff;--fg:#1f2328;--dim:#59636e;--line:#d1d9e0;--soft:#f6f8fa;--link:#0550ae;"
	"--red:#a40e26;--red-bg:#ffebe9;--yellow:#7d4e00;--yellow-bg:#fff8c5;--green:#116329;--green-bg:#dafbe1;--bar:#4c8dd6}"
	"@media(prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--dim:#9198a1;--line:#3d444d;--soft:#161b22;"
	"--link:#79b8ff;--red:#ff9492;--red-bg:#3c1618;--yellow:#e3b341;--yellow-bg:#332600;--green:#56d364;--green-bg:#0f2d17;"
	"--bar:#3f7fc4}figure svg{filter:invert(1) hue-rotate(180deg)}}"
	"*{box-sizing:border-box}body{margin:0 auto;max-width:76rem;padding:1rem;background:var(--bg);color:var(--fg);"
	"font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}"
	"h1{font-size:1.5rem;line-height:1.25;margin:.5rem 0}h2{font-size:1.2rem;margin:2.2rem 0 .6rem;"
	"border-bottom:1px solid var(--line);padding-bottom:.2rem}h3{font-size:1.05rem;margin:0 0 .5rem}"
	"nav{display:flex;flex-wrap:wrap;gap:.3rem 1rem}a{color:var(--link)}p{margin:.4rem 0}.lead{font-size:1.1rem}"
	".dim{color:var(--dim)}code,.mono,td.name,.chain,.stack{font-family:ui-monospace,monospace;font-size:.85rem}"
	"article{border:1px solid var(--line);border-left-width:.35rem;border-radius:.4rem;padding:.8rem;margin:.8rem 0}"
	"article.bad{border-left-color:var(--red)}article.maybe{border-left-color:var(--yellow)}"
	"article.fine{border-left-color:var(--green)}.badge{display:inline-block;border-radius:1rem;padding:0 .6rem;"
	"font-size:.85rem;background:var(--soft)}.bad .badge{background:var(--red-bg);color:var(--red)}"
	".maybe .badge{background:var(--yellow-bg);color:var(--yellow)}.fine .badge{background:var(--green-bg);color:var(--green)}"
	"dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem .8rem;margin:.5rem 0}dt{color:var(--dim)}dd{margin:0;min-width:0}"
	"dd p,dd details{margin:.1rem 0}ol{margin:.3rem 0;padding-left:1.6rem}.chain{list-style:none;padding-left:0}.chain li{padding-left:1rem;text-indent:-1rem}"
	".chain .edge{color:var(--dim)}.chain .grew{color:var(--red);font-weight:600}.chain .root,.chain .point{font-weight:600}"
	"details{margin:.4rem 0}summary{cursor:pointer}figure{margin:.6rem 0;overflow-x:auto}figure svg{max-width:none;height:auto}"
	".wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;width:100%}th,td{padding:.2rem .6rem;text-align:left;"
	"border-bottom:1px solid var(--line);vertical-align:top}th{color:var(--dim);font-weight:600;white-space:nowrap}"
	"td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}td{white-space:nowrap}td.name{white-space:normal;min-width:16rem}"
	"th[data-sort]{cursor:pointer}tr.sum td{font-weight:600}"
	".bars{display:flex;height:1.4rem;border-radius:.2rem;overflow:hidden;background:var(--soft)}.bars i{display:block;height:100%}"
	".key{display:inline-block;width:.8rem;height:.8rem;border-radius:.15rem;vertical-align:-.05rem}"
	".meter{background:var(--soft);border-radius:.2rem;height:.9rem;min-width:6rem}.meter i{display:block;height:100%;"
	"background:var(--bar);border-radius:.2rem;min-width:1px}svg.spark{stroke:var(--bar);fill:none;stroke-width:1.5;vertical-align:middle}"
	"@media(max-width:40rem){body{padding:.7rem}dl{grid-template-columns:1fr}dt{margin-top:.4rem}td.name{min-width:12rem}"
	"th,td{padding:.2rem .4rem}}@media print{details>*{display:block}}";

/* A click on a heading sorts its table; two buttons fold and unfold. Without it everything is there. */
static const char script[] =
	"document.querySelectorAll('th[data-sort]').forEach(function(h){h.addEventListener('click',function(){"
	"var t=h.closest('table'),b=t.tBodies[0],i=h.cellIndex,up=h.dataset.up!=='1',r=Array.from(b.rows);"
	"h.dataset.up=up?'1':'0';r.sort(function(x,y){var p=x.cells[i],q=y.cells[i],m=p.dataset.v,n=q.dataset.v;"
	"var c=m!==undefined?n-m:p.textContent.localeCompare(q.textContent);return up?c:-c});"
	"r.forEach(function(x){b.appendChild(x)})})});"
	"var n=document.querySelector('nav');[['unfold all',true],['fold all',false]].forEach(function(f){"
	"var b=document.createElement('button');b.textContent=f[0];b.addEventListener('click',function(){"
	"document.querySelectorAll('details').forEach(function(d){d.open=f[1]})});n.appendChild(b)});";

void page_begin(FILE *out, const char *title)
{
	fputs("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	      "<meta name=\"referrer\" content=\"no-referrer\">\n"
	      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
	      "script-src '" SCRIPT_HASH "'; base-uri 'none'; form-action 'none'\">\n<title>", out);
	page_text(out, title);
	fprintf(out, "</title>\n<style>%s</style>\n</head>\n<body>\n", style);
}

void page_end(FILE *out)
{
	fprintf(out, "<script>%s</script>\n</body>\n</html>\n", script);
}

void page_text(FILE *out, const char *text)
{
	char *escaped = text ? text_escape(text) : NULL;

	for (const char *c = escaped ? escaped : ""; *c; c++) {
		switch (*c) {
		case '&': fputs("&amp;", out); break;
		case '<': fputs("&lt;", out); break;
		case '>': fputs("&gt;", out); break;
		case '"': fputs("&quot;", out); break;
		case '\'': fputs("&#39;", out); break;
		default: putc(*c, out);
		}
	}
	free(escaped);
}

void page_printf(FILE *out, const char *format, ...)
{
	va_list args;
	char *text;
	int length;

	va_start(args, format);
	length = vasprintf(&text, format, args);
	va_end(args);
	if (length < 0)
		return;
	page_text(out, text);
	free(text);
}

void page_size(FILE *out, int64_t bytes)
{
	char size[TEXT_SIZE];

	fputs(text_size(bytes, size), out);
}

void page_signed_size(FILE *out, int64_t bytes)
{
	if (bytes > 0)
		putc('+', out);
	page_size(out, bytes);
}

void page_count(FILE *out, int64_t count)
{
	char text[TEXT_SIZE];

	fputs(text_count(count, text), out);
}

void page_size_cell(FILE *out, int64_t bytes)
{
	fprintf(out, "<td class=\"n\" data-v=\"%" PRId64 "\">", bytes);
	page_size(out, bytes);
}

void page_signed_size_cell(FILE *out, int64_t bytes)
{
	fprintf(out, "<td class=\"n\" data-v=\"%" PRId64 "\">", bytes);
	page_signed_size(out, bytes);
}

void page_count_cell(FILE *out, int64_t count)
{
	fprintf(out, "<td class=\"n\" data-v=\"%" PRId64 "\">", count);
	page_count(out, count);
}

/* Within a tag: attributes that make or use an id get the number. Text between tags stays as it is. */
void page_svg(FILE *out, const char *svg, unsigned number)
{
	const char *start = strstr(svg, "<svg");
	bool in_tag = false;

	for (const char *c = start ? start : ""; *c; c++) {
		if (*c == '<' && !strncmp(c, "<!--", 4)) {
			const char *end = strstr(c, "-->");

			if (!end)
				return;
			c = end + 2;
			continue;
		}
		in_tag = *c == '<' ? true : *c == '>' ? false : in_tag;
		putc(*c, out);
		if (in_tag && (!strncmp(c, " id=\"", 5) || !strncmp(c, "url(#", 5) || !strncmp(c, "href=\"#", 7))) {
			size_t length = *c == 'h' ? 7 : 5;

			fwrite(c + 1, 1, length - 1, out);
			fprintf(out, "p%u-", number);
			c += length - 1;
		}
	}
}
