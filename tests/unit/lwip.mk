# lwIP, compiled for the host with the guest's lwipopts.h, and what we put around it.
UNIT_TESTS += test_lwip_filter test_lwip test_lwip_tso test_lwip_apps test_http test_journey test_capture

# cmocka's malloc (UNIT_TESTING) pads what it gives out; ASan's ends where it should.
LWIP_HOST_CFLAGS := -UUNIT_TESTING -I$(LWIP)/src/include -Inet/lwip -Wno-address
LWIP_HOST_SRCS = $(addprefix $(LWIP)/,$(LWIP_SRCS)) $(NET_LWIP_SRCS) $(HOST_NET_SRCS) \
	tests/unit/lwip_fixture.c tests/fake/fake_kernel.c

test_lwip_filter_SRCS := tests/unit/test_lwip_filter.c $(addprefix net/lwip/,filter.c filter6.c hooks.c) net/checksum.c \
	tests/fake/fake_kernel.c
test_lwip_filter_CFLAGS := $(LWIP_HOST_CFLAGS)
test_lwip_filter_LWIP := yes

test_lwip_SRCS = $(addprefix tests/unit/,test_lwip.c test_lwip_glue.c test_lwip_timers.c test_lwip_patches.c test_lwip_gro.c \
	test_lwip_ipconfig.c test_lwip_conns.c test_lwip_sleep.c) $(LWIP_HOST_SRCS)
test_lwip_CFLAGS := $(LWIP_HOST_CFLAGS)
test_lwip_LWIP := yes

test_lwip_tso_SRCS = $(addprefix tests/unit/,test_lwip_tso.c test_lwip_tso_loss.c test_lwip_tso_rx.c tso_peer.c) $(LWIP_HOST_SRCS)
test_lwip_tso_CFLAGS := $(LWIP_HOST_CFLAGS)
test_lwip_tso_LWIP := yes

test_lwip_apps_SRCS = tests/unit/test_lwip_apps.c apps/app.c apps/pbuf_queue.c apps/http_parse.c apps/http_server.c \
	apps/echo/echo.c apps/http/http.c apps/diag/diag.c apps/files.c $(LWIP_HOST_SRCS)
test_lwip_apps_CFLAGS := $(LWIP_HOST_CFLAGS)
test_lwip_apps_LWIP := yes

test_http_SRCS := tests/unit/test_http.c apps/http_parse.c
test_http_CFLAGS := -UUNIT_TESTING

test_journey_SRCS = tests/unit/test_journey.c tests/unit/trace_fixture.c $(LWIP_HOST_SRCS)
test_journey_CFLAGS := $(LWIP_HOST_CFLAGS)
test_journey_LWIP := yes
test_capture_SRCS = tests/unit/test_capture.c tests/unit/trace_fixture.c $(LWIP_HOST_SRCS)
test_capture_CFLAGS := $(LWIP_HOST_CFLAGS)
test_capture_LWIP := yes
