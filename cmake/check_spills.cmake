# cmake -DOBJDUMP=... -DOBJECTS=a.o,b.o -P check_spills.cmake: fails if multiply-adds of the tiles take
# operands from the stack: any of gemm.cpp, where one register too few costs a third of the speed, or
# more than 7 % of planar.cpp's, whose gradients of one to three filters lack a register or two. And if
# tiles do not ask for the rows that they end with: g++ drops calls of functions that only prefetch.
include(${CMAKE_CURRENT_LIST_DIR}/disassemble.cmake)
function(check_spills file percent)
  disassemble(${file})
  string(REGEX MATCHALL "vfmadd[^\n]*" all "${code}")
  string(REGEX MATCHALL "vfmadd[^\n]*\\(%r[sb]p[^\n]*" spills "${code}")
  list(LENGTH all count)
  list(LENGTH spills spilled)
  math(EXPR allowed "${count} * ${percent} / 100")
  if(spilled GREATER allowed OR count EQUAL 0)
    message(FATAL_ERROR "expected at most ${allowed} of ${count} multiply-adds of ${file} to read the "
                        "stack, found ${spilled}, of ${OBJECTS}")
  endif()
endfunction()
check_spills(gemm.cpp 0)
check_spills(planar.cpp 7)
disassemble(gemm.cpp)
string(REGEX MATCHALL "prefetcht0" asked "${code}")
list(LENGTH asked lines)
if(lines LESS 100)
  message(FATAL_ERROR "expected tiles of gemm.cpp to ask for the rows that they end with, found "
                      "${lines} requests, of ${OBJECTS}")
endif()
