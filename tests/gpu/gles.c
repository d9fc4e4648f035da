/* SPDX-License-Identifier: MIT
 *
 * Problem: whether a virtual GPU draws what a GPU draws is seen only in pixels, by a program that knows nothing of it.
 *
 * Idea: an ordinary GLES 3.1 program on a surfaceless EGL context, linked to nothing but EGL and GLES. It draws a
 * triangle of a colour given on the command line over a background, runs a compute shader over a buffer, and compares
 * every texel and every number with what the processor computes. With --load it draws fragment work in a loop and
 * reports frames and their times; with --ppm it writes the picture, with --scene besides that of a Julia set in
 * the colour instead of the triangle.
 *
 * Contract: gles [--color RRGGBB] [--frames N] [--seconds S] [--load LOOPS] [--size N] [--pause-ms N] [--async]
 * [--draws N]
 *           [--ppm FILE [--scene]] [--hog MIB] [--loops N] [--fb DEVICE]. Prints `ok NAME` or `not ok NAME: why` a case
 * and a line `frames ...` for loads; exit 0 if all is right. --hog allocates textures of 1 MiB until GL refuses, and
 * says how many it got;
 * --fb writes the picture of --scene into a frame buffer device;
 * --loops computes in a loop that a uniform ends after N rounds; with --seconds that is repeated instead of frames.
 *
 * Locks: none; one thread.
 */
#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <GLES3/gl31.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/fb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static int size = 256, load, frames = 1, hog, loops, pause_ms, async, scene, draws = 1;
static double seconds;
static unsigned color = 0x20c040;
static const char *ppm, *fb;
static int failures;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void verdict(const char *name, int ok, const char *why)
{
	failures += !ok;
	printf(ok ? "ok %s\n" : "not ok %s: %s\n", name, why);
	fflush(stdout);
}

static void __attribute__((noreturn)) give_up(const char *why)
{
	verdict("setup", 0, why);
	exit(1);
}

static void setup(void)
{
	static const EGLint attributes[] = { EGL_CONTEXT_MAJOR_VERSION, 3, EGL_CONTEXT_MINOR_VERSION, 1, EGL_NONE };
	static const EGLint any[] = { EGL_RENDERABLE_TYPE, EGL_OPENGL_ES3_BIT, EGL_NONE };
	EGLDisplay d = eglGetPlatformDisplay(EGL_PLATFORM_SURFACELESS_MESA, EGL_DEFAULT_DISPLAY, NULL);
	EGLConfig config = NULL;
	EGLContext c;
	EGLint n;

	if (!eglInitialize(d, NULL, NULL))
		give_up("eglInitialize");
	eglBindAPI(EGL_OPENGL_ES_API);
	eglChooseConfig(d, any, &config, 1, &n);
	c = eglCreateContext(d, config, EGL_NO_CONTEXT, attributes);
	if (!c || !eglMakeCurrent(d, EGL_NO_SURFACE, EGL_NO_SURFACE, c))
		give_up("no GLES 3.1 context");
	printf("# %s\n", (const char *)glGetString(GL_RENDERER));
}

static GLuint shader(GLenum type, const char *text)
{
	GLuint s = glCreateShader(type);
	GLint ok;
	char log[512];

	glShaderSource(s, 1, &text, NULL);
	glCompileShader(s);
	glGetShaderiv(s, GL_COMPILE_STATUS, &ok);
	if (!ok) {
		glGetShaderInfoLog(s, sizeof(log), NULL, log);
		give_up(log);
	}
	return s;
}

static GLuint program(GLuint a, GLuint b)
{
	GLuint p = glCreateProgram();
	GLint ok;

	glAttachShader(p, a);
	if (b)
		glAttachShader(p, b);
	glLinkProgram(p);
	glGetProgramiv(p, GL_LINK_STATUS, &ok);
	if (!ok)
		give_up("link");
	return p;
}

static const char vertex[] = "#version 310 es\n"
			     "in vec2 at;\n"
			     "void main() { gl_Position = vec4(at, 0.0, 1.0); }\n";
static const char fragment[] = "#version 310 es\n"
			       "precision highp float;\n"
			       "uniform vec3 color; uniform int loops; out vec4 o;\n"
			       "void main() {\n"
			       "  float x = fract(gl_FragCoord.x * 0.37);\n"
			       "  for (int i = 0; i < loops; i++) x = fract(x * 1.37 + 0.11);\n"
			       "  o = vec4(color, x > 2.0 ? 0.5 : 1.0);\n"
			       "}\n";

static const char julia[] = "#version 310 es\n"
			    "precision highp float;\n"
			    "uniform vec3 color; uniform float size; out vec4 o;\n"
			    "void main() {\n"
			    "  vec2 z = gl_FragCoord.xy / size * 3.0 - 1.5; float n = 0.0;\n"
			    "  for (int i = 0; i < 200 && dot(z, z) < 16.0; i++) {\n"
			    "    z = vec2(z.x * z.x - z.y * z.y, 2.0 * z.x * z.y) + vec2(-0.79, 0.15); n += 1.0; }\n"
			    "  float s = n - log2(max(log2(max(dot(z, z), 1.0)), 1.0));\n"
			    "  o = vec4(n >= 200.0 ? vec3(0.0) : mix(vec3(0.05), mix(color, vec3(1.0), 0.35), "
			    "pow(min(s / 60.0, 1.0), 0.6)), 1.0);\n"
			    "}\n";

static void make_target(void)
{
	GLuint t, f;

	glGenTextures(1, &t);
	glBindTexture(GL_TEXTURE_2D, t);
	glTexStorage2D(GL_TEXTURE_2D, 1, GL_RGBA8, size, size);
	glGenFramebuffers(1, &f);
	glBindFramebuffer(GL_FRAMEBUFFER, f);
	glFramebufferTexture2D(GL_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_TEXTURE_2D, t, 0);
	if (glCheckFramebufferStatus(GL_FRAMEBUFFER) != GL_FRAMEBUFFER_COMPLETE)
		give_up("framebuffer");
	glViewport(0, 0, size, size);
}

/* The corners (-1,-1), (1,-1), (-1,1): below the diagonal. */
static void draw(void)
{
	glClearColor(0.2f, 0.2f, 0.2f, 1.0f);
	glClear(GL_COLOR_BUFFER_BIT);
	for (int i = 0; i < draws; i++)
		glDrawArrays(GL_TRIANGLES, 0, 3);
}

static void use_triangle(void)
{
	static const float corners[] = { -1, -1, 1, -1, -1, 1 };
	GLuint p = program(shader(GL_VERTEX_SHADER, vertex), shader(GL_FRAGMENT_SHADER, fragment)), b;

	glUseProgram(p);
	glUniform3f(glGetUniformLocation(p, "color"), (color >> 16) / 255.0f, ((color >> 8) & 255) / 255.0f,
		    (color & 255) / 255.0f);
	glUniform1i(glGetUniformLocation(p, "loops"), load);
	glGenBuffers(1, &b);
	glBindBuffer(GL_ARRAY_BUFFER, b);
	glBufferData(GL_ARRAY_BUFFER, sizeof(corners), corners, GL_STATIC_DRAW);
	glVertexAttribPointer(0, 2, GL_FLOAT, GL_FALSE, 0, NULL);
	glEnableVertexAttribArray(0);
}

static void write_ppm(const unsigned char *rgba)
{
	FILE *f = fopen(ppm, "w");

	if (!f)
		give_up(ppm);
	fprintf(f, "P6\n%d %d\n255\n", size, size);
	for (int y = size - 1; y >= 0; y--)
		for (int x = 0; x < size; x++)
			fwrite(rgba + 4 * (y * size + x), 1, 3, f);
	fclose(f);
}

/* Into the upper left corner of a screen of 32 bits a pixel. */
static void show(const unsigned char *rgba)
{
	struct fb_fix_screeninfo info;
	int fd = open(fb, O_RDWR);

	if (size > 1024 || fd < 0 || ioctl(fd, FBIOGET_FSCREENINFO, &info))
		give_up(fb);
	for (int y = 0; y < size; y++) {
		const unsigned char *row = rgba + 4 * (size - 1 - y) * size;
		unsigned char out[4 * 1024];

		for (int x = 0; x < size; x++) {
			out[4 * x] = row[4 * x + 2];
			out[4 * x + 1] = row[4 * x + 1];
			out[4 * x + 2] = row[4 * x];
			out[4 * x + 3] = 255;
		}
		if (pwrite(fd, out, 4 * size, (off_t)y * info.line_length) != 4 * size)
			give_up(fb);
	}
	close(fd);
	verdict("shown", 1, "");
}

static void check_pixels(const char *name)
{
	unsigned char *p = malloc(4 * size * size), want[4] = { color >> 16, color >> 8, color, 255 };
	char why[128];
	int wrong = 0;

	glReadPixels(0, 0, size, size, GL_RGBA, GL_UNSIGNED_BYTE, p);
	for (int y = 0; y < size; y++)
		for (int x = 0; x < size; x++) {
			const unsigned char grey[4] = { 51, 51, 51, 255 };

			if (x + y == size - 1) /* the edge itself may be either */
				continue;
			wrong += !!memcmp(p + 4 * (y * size + x), x + y < size - 1 ? want : grey, 4);
		}
	snprintf(why, sizeof(why), "%d of %d texels, first is %02x%02x%02x", wrong, size * size, p[0], p[1], p[2]);
	verdict(name, !wrong && !glGetError(), why);
	if (ppm && !scene)
		write_ppm(p);
	free(p);
}

static int by_time(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void repeat(const char *what, void (*frame)(void))
{
	static double times[1000000];
	double start = now(), sum = 0;
	int n = 0;

	while (n < 1000000 && (seconds > 0 ? now() - start < seconds : n < frames)) {
		double at = now();

		frame();
		if (async)
			glFlush();
		else
			glFinish();
		times[n] = now() - at;
		sum += times[n++];
		if (pause_ms)
			usleep(pause_ms * 1000);
	}
	glFinish();
	qsort(times, n, sizeof(*times), by_time);
	printf("%s %d seconds %.3f mean_ms %.3f p50_ms %.3f p99_ms %.3f max_ms %.3f\n", what, n, now() - start,
	       1e3 * sum / n, 1e3 * times[n / 2], 1e3 * times[n * 99 / 100], 1e3 * times[n - 1]);
	fflush(stdout);
}

static void draw_scene(void)
{
	static const float corners[] = { -1, -1, 3, -1, -1, 3 };
	unsigned char *p = malloc(4 * size * size);
	GLuint program_id = program(shader(GL_VERTEX_SHADER, vertex), shader(GL_FRAGMENT_SHADER, julia));

	glUseProgram(program_id);
	glUniform3f(glGetUniformLocation(program_id, "color"), (color >> 16) / 255.0f, ((color >> 8) & 255) / 255.0f,
		    (color & 255) / 255.0f);
	glUniform1f(glGetUniformLocation(program_id, "size"), size);
	glBufferData(GL_ARRAY_BUFFER, sizeof(corners), corners, GL_STATIC_DRAW);
	glDrawArrays(GL_TRIANGLES, 0, 3);
	glReadPixels(0, 0, size, size, GL_RGBA, GL_UNSIGNED_BYTE, p);
	if (ppm)
		write_ppm(p);
	if (fb)
		show(p);
	free(p);
}

static const char compute[] = "#version 310 es\n"
			      "layout(local_size_x = 64) in;\n"
			      "layout(std430, binding = 0) buffer B { uint v[]; };\n"
			      "void main() { uint i = gl_GlobalInvocationID.x; v[i] = v[i] * v[i] + 3u * i + 7u; }\n";

static void check_compute(void)
{
	enum { N = 65536 };
	static unsigned v[N];
	const unsigned *got;
	int wrong = 0;
	char why[64];
	GLuint b;

	for (unsigned i = 0; i < N; i++)
		v[i] = i ^ color;
	glUseProgram(program(shader(GL_COMPUTE_SHADER, compute), 0));
	glGenBuffers(1, &b);
	glBindBufferBase(GL_SHADER_STORAGE_BUFFER, 0, b);
	glBufferData(GL_SHADER_STORAGE_BUFFER, sizeof(v), v, GL_DYNAMIC_COPY);
	glDispatchCompute(N / 64, 1, 1);
	glMemoryBarrier(GL_BUFFER_UPDATE_BARRIER_BIT);
	got = glMapBufferRange(GL_SHADER_STORAGE_BUFFER, 0, sizeof(v), GL_MAP_READ_BIT);
	for (unsigned i = 0; got && i < N; i++)
		wrong += got[i] != v[i] * v[i] + 3 * i + 7;
	snprintf(why, sizeof(why), "%d of %d numbers", wrong, N);
	verdict("compute", got && !wrong, why);
}

#define LOOPING 65536 /* threads */
static const char looping[] =
	"#version 310 es\n"
	"layout(local_size_x = 64) in;\n"
	"layout(std430, binding = 0) buffer B { uint v[]; };\n"
	"uniform int n;\n"
	"void main() { uint s = gl_GlobalInvocationID.x; for (int i = 0; i < n; i++) s = s * 3u + 1u;\n"
	"v[gl_GlobalInvocationID.x] = s; }\n";

static void dispatch_loops(void)
{
	glDispatchCompute(LOOPING / 64, 1, 1);
	glMemoryBarrier(GL_BUFFER_UPDATE_BARRIER_BIT);
}

static void check_loops(void)
{
	static unsigned v[LOOPING];
	GLuint p = program(shader(GL_COMPUTE_SHADER, looping), 0), b;
	const unsigned *got;
	int wrong = 0;

	glUseProgram(p);
	glUniform1i(glGetUniformLocation(p, "n"), loops);
	glGenBuffers(1, &b);
	glBindBufferBase(GL_SHADER_STORAGE_BUFFER, 0, b);
	glBufferData(GL_SHADER_STORAGE_BUFFER, sizeof(v), v, GL_DYNAMIC_COPY);
	dispatch_loops();
	got = glMapBufferRange(GL_SHADER_STORAGE_BUFFER, 0, sizeof(v), GL_MAP_READ_BIT);
	for (unsigned i = 0; got && i < LOOPING; i += LOOPING / 64) { /* of each thread would take the processor long */
		unsigned s = i;

		for (int k = 0; k < loops; k++)
			s = s * 3 + 1;
		wrong += got[i] != s;
	}
	verdict("loops", got && !wrong, "wrong numbers");
	glUnmapBuffer(GL_SHADER_STORAGE_BUFFER);
}

static void take_memory(void)
{
	int got = 0;
	GLuint t;

	for (; got < hog; got++) {
		glGenTextures(1, &t);
		glBindTexture(GL_TEXTURE_2D, t);
		glTexStorage2D(GL_TEXTURE_2D, 1, GL_RGBA8, 512, 512);
		if (glGetError())
			break;
	}
	printf("hog %d MiB of %d\n", got, hog);
}

static int parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "color", 1, NULL, 'c' }, { "frames", 1, NULL, 'f' },   { "seconds", 1, NULL, 't' },
		{ "load", 1, NULL, 'l' },  { "size", 1, NULL, 's' },     { "ppm", 1, NULL, 'p' },
		{ "hog", 1, NULL, 'h' },   { "pause-ms", 1, NULL, 'w' }, { "async", 0, NULL, 'a' },
		{ "scene", 0, NULL, 'j' }, { "draws", 1, NULL, 'd' },    { "loops", 1, NULL, 'o' },
		{ "fb", 1, NULL, 'b' },    { NULL, 0, NULL, 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'c': color = strtoul(optarg, NULL, 16); break;
		case 'f': frames = atoi(optarg); break;
		case 't': seconds = atof(optarg); break;
		case 'l': load = atoi(optarg); break;
		case 's': size = atoi(optarg); break;
		case 'p': ppm = optarg; break;
		case 'h': hog = atoi(optarg); break;
		case 'w': pause_ms = atoi(optarg); break;
		case 'a': async = 1; break;
		case 'j': scene = 1; break;
		case 'd': draws = atoi(optarg); break;
		case 'b': fb = optarg; break;
		case 'o': loops = atoi(optarg); break;
		default: return 2;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (parse(argc, argv))
		return 2;
	setup();
	make_target();
	use_triangle();
	draw();
	check_pixels("triangle");
	if (load || (seconds > 0 && !loops) || frames > 1) {
		repeat("frames", draw);
		check_pixels("triangle after load");
	}
	if ((ppm || fb) && scene)
		draw_scene();
	check_compute();
	if (loops) {
		check_loops();
		if (seconds > 0)
			repeat("dispatches", dispatch_loops);
	}
	if (hog)
		take_memory();
	return failures ? 1 : 0;
}
