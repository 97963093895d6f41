# bpf_program(http_socket) compiles bpf/programs/http_socket.bpf.c to an object and a skeleton, and makes the
# INTERFACE library bpf_http_socket, whose users include "http_socket.skel.h". No vmlinux.h: programs declare
# the few kernel fields they read (bpf/lib/kernel.bpf.h) and CO-RE relocates them.
find_program(BPF_CLANG NAMES clang-16 clang REQUIRED)
find_program(BPF_STRIP NAMES llvm-strip-16 llvm-strip)
find_program(BPFTOOL bpftool PATHS /usr/sbin /sbin REQUIRED)

function(bpf_program NAME)
  set(source ${CMAKE_CURRENT_SOURCE_DIR}/programs/${NAME}.bpf.c)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${NAME}.bpf.o)
  set(skeleton ${CMAKE_CURRENT_BINARY_DIR}/${NAME}.skel.h)
  file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/include/*.h
    ${CMAKE_CURRENT_SOURCE_DIR}/lib/*.h ${CMAKE_CURRENT_SOURCE_DIR}/maps/*.h)
  add_custom_command(OUTPUT ${object}
    COMMAND ${BPF_CLANG} -target bpf -mcpu=v3 -D__TARGET_ARCH_x86 -O2 -g -Wall -Wextra -Werror
      -Wno-unused-parameter -Wno-missing-field-initializers -fno-stack-protector
      -I${PROJECT_SOURCE_DIR} -idirafter /usr/include/x86_64-linux-gnu -c ${source} -o ${object}
    DEPENDS ${source} ${headers} VERBATIM)
  add_custom_command(OUTPUT ${skeleton}
    COMMAND ${BPFTOOL} gen skeleton ${object} name ${NAME} > ${skeleton}
    DEPENDS ${object} VERBATIM)
  add_custom_target(bpf_${NAME}_skeleton DEPENDS ${skeleton})
  add_dependencies(generated_headers bpf_${NAME}_skeleton)
  add_library(bpf_${NAME} INTERFACE)
  add_dependencies(bpf_${NAME} bpf_${NAME}_skeleton)
  target_include_directories(bpf_${NAME} SYSTEM INTERFACE ${CMAKE_CURRENT_BINARY_DIR})
  target_include_directories(bpf_${NAME} INTERFACE ${PROJECT_SOURCE_DIR})
  target_link_libraries(bpf_${NAME} INTERFACE PkgConfig::libbpf)
endfunction()
