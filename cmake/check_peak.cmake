# cmake -DOBJDUMP=... -DOBJECTS=a.o,b.o -P check_peak.cmake: fails unless the loop that measures the
# multiply-add peak (peak.cpp) has all of the twelve that it counts. One that the compiler leaves out
# makes the peak a twelfth too high, and every share of it too low.
string(REPLACE "," ";" objects "${OBJECTS}")
list(FILTER objects INCLUDE REGEX "/peak\\.cpp")
if(NOT objects)
  message(FATAL_ERROR "no object of peak.cpp in ${OBJECTS}")
endif()
execute_process(COMMAND ${OBJDUMP} -d --no-show-raw-insn ${objects} OUTPUT_VARIABLE code
                COMMAND_ERROR_IS_FATAL ANY)
string(FIND "${code}" "multiply_add" begin)
string(SUBSTRING "${code}" ${begin} -1 code)
string(FIND "${code}" "\n\n" end)  # of the function
string(SUBSTRING "${code}" 0 ${end} code)
string(REGEX MATCHALL "vfmadd" found "${code}")
list(LENGTH found count)
if(NOT count EQUAL 12)
  message(FATAL_ERROR "expected 12 multiply-adds in ${objects}, found ${count}")
endif()
